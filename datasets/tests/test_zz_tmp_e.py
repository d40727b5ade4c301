import pytest, math, time
from pathlib import Path
import numpy as np, av
from fractions import Fraction
def film(path,w=64,h=48,codec="libx264",pix="yuv420p",n=60,rate=30,full=False,**o):
    rng=np.random.default_rng(3)
    with av.open(str(path),"w") as c:
        s=c.add_stream(codec,rate=rate,options=o); s.width,s.height,s.pix_fmt=w,h,pix
        if full: s.codec_context.color_range=2
        for i in range(n):
            im=np.kron(rng.integers(0,255,((h+7)//8,(w+7)//8,3)),np.ones((8,8,1)))[:h,:w].astype("uint8")
            f=av.VideoFrame.from_ndarray(im,format="rgb24"); f.pts=i; f.time_base=Fraction(1,rate); c.mux(s.encode(f))
        c.mux(s.encode())
    return path
K={"odd":dict(w=65,h=49,codec="mpeg4",b="2000000"),"yuvj":dict(pix="yuvj420p"),"444":dict(pix="yuv444p"),"mkv":dict(ext="mkv",bf="0",g="6"),"ts":dict(ext="ts",codec="mpeg4",b="3000000"),"webm":dict(ext="webm",codec="libvpx",b="3000000"),"vp9":dict(ext="webm",codec="libvpx-vp9",b="3000000"),"mov":dict(ext="mov",bf="0",g="6"),"avi":dict(ext="avi",codec="mpeg4",b="3000000"),"avi_b":dict(ext="avi",codec="mpeg4",b="3000000",bf="2"),"av1":dict(codec="libsvtav1",preset="8",w=128,h=96,g="10"),"mjpeg":dict(ext="avi",codec="mjpeg",pix="yuvj420p"),"59":dict(rate=59,bf="0"),"hevc":dict(codec="libx265"),"gray":dict(codec="libx264",pix="gray")}
@pytest.mark.django_db
@pytest.mark.parametrize("k",K)
def test_film(k,tmp_path,settings):
    settings.MEDIA_ROOT=tmp_path/"media"
    from datasets.tests.entries import session_of,BEGIN_S
    from datasets.tests.film_chunks import chunk_of
    from datasets.manifest import freeze
    from datasets.options import Options
    from datasets.writing import write_lerobot
    from datasets.verification import verify
    from datasets.types import Refused
    s=session_of([{"observation":{"a.pos":math.sin(i/9)},"action":{"a.pos":float(i)}} for i in range(60)],fps=30)
    o=dict(K[k]); f=film(tmp_path/f"x.{o.pop('ext','mp4')}",**o)
    chunk_of(s,f,BEGIN_S,2.0)
    m=freeze("t",[s],Options())
    folder=tmp_path/"out"; folder.mkdir()
    try: w=write_lerobot(m,folder,lambda d:None)
    except Refused as e: print("REFUSED",k,e); return
    r=verify(folder,m)
    print("OK",k,[[ {k:(x.copied_rows,x.length) for k,x in e.items()} for e in sp] for sp in w.spans],r)
