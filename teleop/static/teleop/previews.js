// Pictures of a robot's cameras as they come from a live socket (docs/live.md).

const OLD_MS = 5000;
const TELL_MS = 500; // how often ages are written
const decoder = new TextDecoder();

/** A message of the socket: the names of the robot and the camera, the picture's age, and a JPEG. */
export function read(buffer) {
  const bytes = new Uint8Array(buffer);
  let at = 0;
  const name = () => {
    const end = at + 1 + bytes[at];
    const text = decoder.decode(bytes.subarray(at + 1, end));
    at = end;
    return text;
  };
  const [robot, camera] = [name(), name()];
  const takenAt = performance.now() - new DataView(buffer).getFloat64(at) * 1000;
  // Drawn on a canvas, it is a picture and nothing else, whatever its bytes are.
  return { robot, camera, takenAt, jpeg: new Blob([bytes.subarray(at + 8)], { type: "image/jpeg" }) };
}

/** Draws the picture; a picture that the browser cannot decode leaves the last one. */
export async function draw(canvas, { jpeg }) {
  let image;
  try {
    image = await createImageBitmap(jpeg);
  } catch {
    return;
  }
  if (canvas.width !== image.width) canvas.width = image.width;
  if (canvas.height !== image.height) canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
}

export const isOld = ({ takenAt }) => performance.now() - takenAt > OLD_MS;

function age({ takenAt }) {
  const seconds = Math.max(0, (performance.now() - takenAt) / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** All cameras of a robot, each with its name and the age of its picture. */
export class Cameras {
  constructor(element, template) {
    this._element = element;
    this._template = template;
    this._shown = new Map(); // by camera
    setInterval(() => this._tell(), TELL_MS);
  }

  get size() {
    return this._shown.size;
  }

  async show(picture) {
    const shown = this._shown.get(picture.camera) ?? this._add(picture.camera);
    shown.picture = picture;
    await draw(shown.canvas, picture);
    this._tell();
  }

  _add(camera) {
    const figure = this._template.content.firstElementChild.cloneNode(true);
    const [canvas, name, age] = ["canvas", ".camera", ".age"].map((part) => figure.querySelector(part));
    figure.dataset.camera = camera;
    canvas.setAttribute("aria-label", `Camera ${camera}`);
    name.textContent = name.title = camera;
    this._shown.set(camera, { figure, canvas, age });
    const sorted = [...this._shown].sort(([a], [b]) => (a < b ? -1 : 1));
    this._element.replaceChildren(...sorted.map(([, shown]) => shown.figure));
    this._element.hidden = false;
    return this._shown.get(camera);
  }

  _tell() {
    for (const { figure, age: element, picture } of this._shown.values()) {
      element.textContent = age(picture);
      figure.classList.toggle("old", isOld(picture));
    }
  }
}
