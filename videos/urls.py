from robots.api.routers import Router
from videos import views

router = Router()
router.register("videos", views.VideoViewSet, basename="video")

urlpatterns = router.urls
