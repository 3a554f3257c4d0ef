// What a single value of a form is typed into, and what was typed as a value.
import { make } from "../show.js";

/** @typedef {import("./schema.js").Schema} Schema */

const LONG = 80; // characters: more get several lines
const PLAIN = ["string", "number", "integer"]; // the rest is typed as JSON

/**
 * @param {Schema} schema
 * @param {string | undefined} type
 * @param {unknown} value
 */
export function control(schema, type, value) {
  const choices = schema.enum ?? (type === "boolean" ? [true, false] : null);
  return choices ? choice(choices, value) : line(schema, type, shown(type, value));
}

/**
 * @param {unknown[]} choices
 * @param {unknown} value
 */
function choice(choices, value) {
  const select = make("select", "rv-select");
  const texts = choices.map((each) => JSON.stringify(each));
  const names = choices.map((each, place) => (typeof each === "string" ? each : texts[place]));
  const options = texts.map((text, place) => new Option(names[place], text));
  select.replaceChildren(new Option("–", ""), ...options);
  const chosen = value === undefined ? "" : JSON.stringify(value);
  if (chosen && !texts.includes(chosen)) select.append(new Option(chosen, chosen));
  select.value = chosen;
  return select;
}

/**
 * @param {string | undefined} type
 * @param {unknown} value
 */
function shown(type, value) {
  if (value === undefined || value === null) return "";
  const plain = PLAIN.includes(type ?? "") && typeof value !== "object";
  return plain ? String(value) : JSON.stringify(value, null, 1);
}

/**
 * @param {Schema} schema
 * @param {string | undefined} type
 * @param {string} text
 */
function line({ maxLength, format }, type, text) {
  const plain = PLAIN.includes(type ?? "");
  if (!plain || text.length > LONG || text.includes("\n") || maxLength > 200) {
    const area = make("textarea", "rv-edit-field");
    area.rows = plain ? 3 : 4;
    area.value = text;
    return area;
  }
  const input = make("input", "rv-input");
  input.type = "text";
  input.autocomplete = "off";
  if (type !== "string") input.inputMode = "decimal";
  if (format === "date") input.placeholder = "2026-01-31";
  input.value = text;
  return input;
}

/**
 * The value that was typed; of the wrong type where it cannot be read as the right one.
 * @param {string} text
 * @param {Schema} schema
 * @param {string | undefined} type
 * @param {boolean} required
 * @returns {unknown}
 */
export function typed(text, schema, type, required) {
  const trimmed = text.trim();
  const nullable = [schema.type].flat().includes("null");
  if (trimmed === "") return nullable && required ? null : undefined;
  if (type === "string" && !schema.enum) return text;
  if (type === "number" || type === "integer") {
    return schema.enum ? parsed(trimmed) : /^[-+]?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(trimmed) ? Number(trimmed) : trimmed;
  }
  return parsed(trimmed);
}

/** @param {string} text @returns {unknown} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
