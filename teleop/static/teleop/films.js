// Which file of a chunk a browser plays, and the words where there is none. Pure: no DOM, no requests.

const DEPTH = /^gray./; // pixel formats of one channel with more than 8 bits

/** {url, begin}: the file to play and the media time of its first picture in seconds; null: there is none (yet). */
export function sourceOf({ id, preview, proxy, first_picture_s, isBroken }) {
  if (preview === "proxy" || (preview === "original" && proxy && isBroken)) return { url: `/videos/${id}/proxy`, begin: 0 };
  if (preview === "original") return { url: `/videos/${id}/content`, begin: first_picture_s ?? 0 };
  return null;
}

/** Why a chunk without a source is not seen. */
export function reasonOf({ preview, codec, pixel_format }) {
  if (preview === "pending") return `a version that browsers play is being made (${codec})`;
  return DEPTH.test(pixel_format) ? `depth (${pixel_format}), no preview` : `${codec || "this film"} cannot be played`;
}

/** A camera's name as people say it. */
export const nameOf = (key) => key.replace(/^observation\.images\./, "");
