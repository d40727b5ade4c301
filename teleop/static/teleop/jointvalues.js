// The values in a robot's frames: their names, order and groups, the same on every page. No DOM.

import { servoName } from "./servo.js";

const PARTS = ["observation", "action"];
const GROUP = /(?:^|[_./ -])(left|right|head|torso)(?=[_./ -]|$)/i;
const GROUPS = { left: "Left", right: "Right", head: "Head", torso: "Torso" };
const POSITION = /\.pos$|^(joint_positions\.)?\d+$/;

/** A joint by its name in the observation or action: LeRobot's `observation.state.0` and `action.0` are the same one. */
export const jointOf = (name) => name.replace(/^state\.(?=\d+$)/, "");

/** {part, joint} of a dotted name in a frame. What is in neither part is taken for an observation, under its whole name. */
export function placeOf(name) {
  const part = PARTS.find((each) => name.startsWith(`${each}.`));
  return part ? { part, joint: jointOf(name.slice(part.length + 1)) } : { part: "observation", joint: name, isBeside: true };
}

/** The name that people read. */
export const labelOf = (joint) => joint.replace(/\.pos$/, "");

/** Left, Right, Head, Torso or Motors; "" for all others. */
export function groupOf(joint) {
  if (servoName(joint)) return "Motors";
  return GROUPS[GROUP.exec(joint)?.[1].toLowerCase()] ?? "";
}

/** The order of the colours: positions, as the fleet shows them, then other values, those beside both parts, motors. */
export function rankOf(joint, isBeside = false) {
  if (servoName(joint)) return 3;
  return isBeside ? 2 : POSITION.test(joint) ? 0 : 1;
}

/** All numbers, booleans and texts in a frame by their dotted names. */
export function valuesOf(value, name = "", found = {}) {
  if (["number", "boolean", "string"].includes(typeof value)) found[name] = value;
  else if (value && typeof value === "object")
    for (const key of Object.keys(value)) valuesOf(value[key], name ? `${name}.${key}` : key, found);
  return found;
}
