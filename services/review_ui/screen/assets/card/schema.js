// What a JSON Schema finds wrong with a value, as far as a form needs it while somebody types. The
// server checks by the whole schema; what it alone knows comes back as a refused answer.

const { MAX_SAFE_INTEGER } = Number;

/** @typedef {Readonly<Record<string, any>>} Schema */
/** `path`: of the field, dotted; `why`: a key of the words. @typedef {{ path: string, why: keyof Ui.Words, what?: string }} Problem */

/**
 * The schema with its local reference followed.
 * @param {Schema} schema
 * @param {Schema} root
 * @returns {Schema}
 */
export function followed(schema, root) {
  const { $ref: ref } = schema;
  if (typeof ref !== "string" || !ref.startsWith("#/")) return schema;
  const steps = ref.slice(2).split("/");
  return steps.reduce((at, step) => at?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], /** @type {any} */ (root)) ?? {};
}

/**
 * The type to fill in: of several the first that is not null.
 * @param {Schema} schema
 */
export function typeOf({ type, properties, items }) {
  const found = [type].flat().find((each) => each !== "null");
  return found ?? (properties ? "object" : items ? "array" : undefined);
}

/**
 * @param {Schema} given
 * @param {unknown} value undefined: it is not there
 * @param {Schema} root
 * @param {string} path
 * @returns {Problem[]}
 */
export function problems(given, value, root = given, path = "") {
  const schema = followed(given, root);
  if (value === undefined) return [];
  if (!ofType(schema, value)) return [{ path, why: "wrong_type", what: [schema.type].flat().join(", ") }];
  if (schema.enum && !schema.enum.some((/** @type {unknown} */ each) => alike(each, value))) {
    return [{ path, why: "wrong_choice" }];
  }
  if ("const" in schema && !alike(schema.const, value)) return [{ path, why: "wrong_choice" }];
  if (typeof value === "number") return ofNumber(schema, value, path);
  if (typeof value === "string") return ofText(schema, value, path);
  if (Array.isArray(value)) return ofList(schema, value, root, path);
  if (value !== null && typeof value === "object") return ofFields(schema, value, root, path);
  return [];
}

/** @param {string} path @param {string | number} name */
export function below(path, name) {
  return path ? `${path}.${name}` : String(name);
}

/** @param {unknown} one @param {unknown} other */
function alike(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** @param {Schema} schema @param {unknown} value */
function ofType({ type }, value) {
  if (type === undefined) return true;
  const is = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  return [type].flat().some((each) => each === is || (each === "integer" && Number.isInteger(value)));
}

/**
 * @param {Schema} schema
 * @param {number} value
 * @param {string} path
 * @returns {Problem[]}
 */
function ofNumber({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }, value, path) {
  const low = minimum ?? exclusiveMinimum;
  const high = maximum ?? exclusiveMaximum;
  if (value < minimum || value <= exclusiveMinimum) return [{ path, why: "wrong_low", what: low }];
  if (value > maximum || value >= exclusiveMaximum) return [{ path, why: "wrong_high", what: high }];
  // Rounded as it was typed; the server takes none.
  if (value > MAX_SAFE_INTEGER) return [{ path, why: "wrong_high", what: String(MAX_SAFE_INTEGER) }];
  if (value < -MAX_SAFE_INTEGER) return [{ path, why: "wrong_low", what: String(-MAX_SAFE_INTEGER) }];
  return [];
}

/**
 * @param {Schema} schema
 * @param {string} value
 * @param {string} path
 * @returns {Problem[]}
 */
function ofText({ minLength, maxLength, pattern }, value, path) {
  const { length } = [...value];
  if (length < minLength) return [{ path, why: "wrong_short", what: minLength }];
  if (length > maxLength) return [{ path, why: "wrong_long", what: maxLength }];
  if (pattern !== undefined && !fits(pattern, value)) return [{ path, why: "wrong_pattern", what: pattern }];
  return [];
}

/** @param {string} pattern @param {string} value */
function fits(pattern, value) {
  try {
    return new RegExp(pattern, "u").test(value);
  } catch {
    return true; // another dialect: the server knows it
  }
}

/**
 * @param {Schema} schema
 * @param {unknown[]} value
 * @param {Schema} root
 * @param {string} path
 * @returns {Problem[]}
 */
function ofList({ items, minItems, maxItems }, value, root, path) {
  if (value.length < minItems) return [{ path, why: "wrong_few", what: minItems }];
  if (value.length > maxItems) return [{ path, why: "wrong_many", what: maxItems }];
  if (typeof items !== "object") return [];
  return value.flatMap((each, place) => problems(items, each, root, below(path, place)));
}

/**
 * @param {Schema} schema
 * @param {object} value
 * @param {Schema} root
 * @param {string} path
 * @returns {Problem[]}
 */
function ofFields({ properties = {}, required = [] }, value, root, path) {
  const there = /** @type {Record<string, unknown>} */ (value);
  const missing = required.filter((/** @type {string} */ name) => there[name] === undefined);
  return [
    ...missing.map((/** @type {string} */ name) => ({ path: below(path, name), why: "wrong_missing" })),
    ...Object.entries(properties).flatMap(([name, each]) =>
      problems(/** @type {Schema} */ (each), there[name], root, below(path, name)),
    ),
  ];
}
