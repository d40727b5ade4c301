// What motors report beside their positions: temperature, load, voltage, current, errors. They are no joints: the live
// page has them in a panel with their limits. teleop/servo.py recognizes the same names, docs/protocol.md lists them.

const UNITS = { temperature: "°C", load: "%", voltage: "V", current: "A", error: "" };
export const KINDS = Object.keys(UNITS);
const NAME = new RegExp(`^(?:(.+?)[._/])??(present[._/])?(${KINDS.join("|")})$`, "is");
// Feetech's registers: a step in thousandths of the unit, and the bit that is the sign if the robot has not decoded it.
const STEPS = { load: 100, voltage: 100, current: 6.5 };
const SIGN_BITS = { load: 2 ** 10, current: 2 ** 15 };
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const LARGEST = 1e5; // that is written with all its digits

/** {motor, kind, isRegister} of a number's dotted name in an observation; null if it is no value of a motor. */
export function servoName(name) {
  const parts = NAME.exec(name);
  return parts && { motor: parts[1] ?? "", kind: parts[3].toLowerCase(), isRegister: Boolean(parts[2]) };
}

/** In °C, %, V or A. */
export function inUnits({ kind, isRegister }, value) {
  if (!isRegister || !(kind in STEPS)) return value;
  const bit = SIGN_BITS[kind];
  return ((value >= bit ? bit - value : value) * STEPS[kind]) / 1000;
}

export function inWords(kind, value) {
  const number = Math.abs(value) < LARGEST ? NUMBER.format(value) : value.toExponential(1);
  return kind === "error" ? `error ${number}` : `${number} ${UNITS[kind]}`;
}

/** "high", "low" or "": a value without a limit is never over it. */
export function trouble(value, [lower, upper]) {
  if (upper !== null && value > upper) return "high";
  if (lower === null || value >= lower) return "";
  return upper === -lower ? "high" : "low"; // -95 % is a high load
}

export class Servo {
  #cells = new Map(); // motor and kind -> the element
  #shown = ""; // what they are

  constructor(element) {
    this.element = element;
    this.limits = {};
    this.ignored = [];
  }

  /** Takes the limits of an answer of the live socket. */
  hear({ limits, limits_ignored }) {
    this.limits = limits ?? {};
    this.ignored = limits_ignored ?? [];
  }

  /** Shows the newest values of these columns; returns the columns without them. */
  take(columns) {
    const [joints, motors] = [new Map(), new Map()];
    for (const [name, column] of columns.joints) {
      const parts = servoName(name);
      const value = parts && numberOf(column.observation.findLast((each) => each !== null));
      if (typeof value !== "number") {
        joints.set(name, column);
        continue;
      }
      if (!motors.has(parts.motor)) motors.set(parts.motor, new Map());
      motors.get(parts.motor).set(parts.kind, inUnits(parts, value));
    }
    this.#show(motors);
    return { ...columns, joints };
  }

  #show(motors) {
    this.element.hidden = !motors.size;
    const shown = JSON.stringify([...motors].map(([motor, values]) => [motor, ...values.keys()]));
    if (shown !== this.#shown) this.#build(motors);
    this.#shown = shown;
    let over = 0;
    for (const [motor, values] of motors)
      for (const [kind, value] of values) {
        const limit = this.limits[`${motor}.${kind}`.toLowerCase()] ?? this.limits[kind] ?? [null, null];
        const found = trouble(value, limit);
        over += Boolean(found);
        const cell = this.#cells.get(`${motor}.${kind}`);
        const sign = { high: kind === "error" ? "⚠ " : "▲ high ", low: "▼ low " }[found] ?? "";
        write(cell, `${sign}${inWords(kind, value)}`);
        cell.classList.toggle("over", Boolean(found));
        cell.title = `${motor} ${kind}, ${range(kind, limit)}`.trim();
      }
    const status = this.element.querySelector(".status");
    write(status, over ? `${over} over the limit` : motors.size ? "within limits" : "");
    status.dataset.status = over ? "error" : "online";
    write(this.element.querySelector(".ignored"), this.ignored.map((why) => `Ignored: ${why}.`).join(" "));
  }

  #build(motors) {
    this.#cells.clear();
    this.element.querySelector("ul").replaceChildren(
      ...[...motors].map(([motor, values]) => {
        const [item, name] = ["li", "b"].map((tag) => document.createElement(tag));
        Object.assign(name, { textContent: motor || "robot", title: motor });
        item.append(name);
        for (const kind of KINDS.filter((each) => values.has(each))) {
          const cell = document.createElement("span");
          this.#cells.set(`${motor}.${kind}`, cell);
          item.append(cell);
        }
        return item;
      }),
    );
  }
}

const numberOf = (value) => (typeof value === "boolean" ? Number(value) : value); // of an error

function range(kind, [lower, upper]) {
  if (lower === null && upper === null) return "no limit";
  if (kind === "error" && lower === 0 && upper === 0) return "any but 0 is over the limit";
  if (lower === null) return `at most ${inWords(kind, upper)}`;
  if (upper === null) return `at least ${inWords(kind, lower)}`;
  return `${NUMBER.format(lower)} to ${inWords(kind, upper)}`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
