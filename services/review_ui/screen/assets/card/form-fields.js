// The fields of a form, made from its JSON Schema: one for each value, groups for objects, rows for
// lists, and JSON for what no field could show.
import { control, typed } from "./form-controls.js";
import { below, followed, typeOf } from "./schema.js";
import { make, makeButton, percent, span } from "../show.js";

/** @typedef {import("./schema.js").Schema} Schema */
/**
 * A field, or several as one. `read`: undefined where nothing is there.
 * @typedef {{ element: HTMLElement, read: () => unknown }} Field
 */
/**
 * @typedef {object} Making
 * @property {Schema} root
 * @property {Ui.Words} words
 * @property {Readonly<Record<string, number>>} shares by path
 * @property {() => void} changed
 */

/**
 * @param {Schema} given
 * @param {unknown} value
 * @param {string} path
 * @param {string} name
 * @param {boolean} required
 * @param {Making} making
 * @returns {Field}
 */
export function field(given, value, path, name, required, making) {
  const schema = followed(given, making.root);
  const type = typeOf(schema);
  const fits = value === undefined || value === null;
  if (type === "object" && schema.properties && (fits || isObject(value))) {
    return group(schema, /** @type {Record<string, unknown> | null | undefined} */ (value), path, name, required, making);
  }
  if (type === "array" && typeof schema.items === "object" && (fits || Array.isArray(value))) {
    return rows(schema, /** @type {unknown[] | null | undefined} */ (value), path, name, required, making);
  }
  return single(schema, type, value, path, name, required, making);
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {Schema} schema
 * @param {Record<string, unknown> | null | undefined} value
 * @param {string} path
 * @param {string} name
 * @param {boolean} needed
 * @param {Making} making
 * @returns {Field}
 */
function group({ properties, required = [], title }, value, path, name, needed, making) {
  const came = value ?? {};
  const known = Object.entries(/** @type {Record<string, Schema>} */ (properties));
  const fields = known.map(([key, schema]) => /** @type {const} */ ([
    key,
    field(schema, came[key], below(path, key), schema.title ?? key, required.includes(key), making),
  ]));
  const others = Object.entries(came).filter(([key]) => !(key in properties));
  // What must be there is, if only to have its own fields named; an empty one goes back as it came.
  const none = value === null ? null : needed || (value && Object.keys(value).length === 0) ? {} : undefined;
  const parts = fields.map(([, { element }]) => element);
  const element = path
    ? make("fieldset", "rv-group", [make("legend", "", title ?? name), ...parts])
    : make("div", "rv-fields", parts);
  return {
    element,
    read: () => {
      const found = fields.map(([key, { read }]) => [key, read()]).filter(([, each]) => each !== undefined);
      const all = Object.fromEntries([...found, ...others]);
      return Object.keys(all).length > 0 ? all : none;
    },
  };
}

/**
 * @param {Schema} schema
 * @param {unknown[] | null | undefined} value
 * @param {string} path
 * @param {string} name
 * @param {boolean} needed
 * @param {Making} making
 * @returns {Field}
 */
function rows({ items, title, minItems }, value, path, name, needed, making) {
  const { words } = making;
  /** @type {Field[]} */
  let made = [];
  const list = make("div", "rv-rows");
  /** @param {unknown[]} values */
  const draw = (values) => {
    made = values.map((each, place) =>
      field(items, each, below(path, place), `${name} ${place + 1}`, true, making),
    );
    list.replaceChildren(...made.map(({ element }, place) => {
      const remove = makeButton("rv-button rv-quiet", "×", () => {
        draw(made.filter((_, nth) => nth !== place).map(({ read }) => read()));
        making.changed();
        const next = list.children[place]?.lastElementChild ?? list.nextElementSibling;
        /** @type {HTMLElement | null} */ (next)?.focus(); // what had it is gone
      });
      remove.setAttribute("aria-label", `${words.row_remove}: ${name} ${place + 1}`);
      return make("div", "rv-row", [element, remove]);
    }));
  };
  draw(value ?? []);
  const add = makeButton("rv-button rv-quiet", `+ ${name}`, () => {
    draw([...made.map(({ read }) => read()), undefined]);
    making.changed();
    const fields = list.lastElementChild?.querySelectorAll("input, select, textarea");
    /** @type {HTMLElement | undefined} */ (fields?.[0])?.focus();
  });
  const problem = make("p", "rv-problem");
  problem.dataset.path = path;
  problem.id = `rv-field-${path}-problem`;
  problem.hidden = true;
  add.dataset.path = path;
  add.setAttribute("aria-describedby", problem.id);
  const element = make("fieldset", "rv-group", [make("legend", "", title ?? name), list, add, problem]);
  const none = value === null ? null : value || needed || minItems === 0 ? [] : undefined;
  return {
    element,
    read: () => (made.length === 0 ? none : made.map(({ read }) => read() ?? null)),
  };
}

/**
 * @param {Schema} schema
 * @param {string | undefined} type
 * @param {unknown} value
 * @param {string} path
 * @param {string} name
 * @param {boolean} required
 * @param {Making} making
 * @returns {Field}
 */
function single(schema, type, value, path, name, required, making) {
  const { changed, shares, words } = making;
  const input = control(schema, type, value);
  let touched = false;
  input.id = `rv-field-${path}`;
  input.dataset.path = path;
  input.dir = "auto";
  input.setAttribute("aria-describedby", `${input.id}-problem`);
  input.setAttribute("aria-required", String(required));
  input.addEventListener("input", () => {
    touched = true;
    changed();
  });
  const label = make("label", "", [span(name)]);
  label.htmlFor = input.id;
  if (required) label.append(span(` ${words.field_required}`, "rv-hint"));
  const share = shares[path];
  if (share !== undefined) label.append(" ", span(percent(share), "rv-share"));
  const problem = make("p", "rv-problem");
  problem.id = `${input.id}-problem`;
  problem.dataset.path = path;
  problem.hidden = true;
  return {
    element: make("div", "rv-field", [label, input, problem]),
    // What nobody touched goes back as it came.
    read: () => (touched ? typed(input.value, schema, type, required) : value),
  };
}
