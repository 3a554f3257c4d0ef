// What was predicted for a task, where its reviewer may see it.

/**
 * How sure each label, or field by its path, is; nothing where that is not known.
 * @param {Ui.Task} task
 * @returns {Readonly<Record<string, number>>}
 */
export function partShares({ prediction }) {
  const parts = prediction?.parts ?? {};
  return Array.isArray(parts) ? {} : parts;
}

/**
 * Whether two answers are the same JSON, whatever the order of their keys.
 * @param {unknown} one
 * @param {unknown} other
 * @returns {boolean}
 */
export function same(one, other) {
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") {
    return one === other;
  }
  const [a, b] = [Object.entries(one), Object.entries(other)];
  const theirs = /** @type {Record<string, unknown>} */ (other);
  if (Array.isArray(one) !== Array.isArray(other) || a.length !== b.length) return false;
  return a.every(([name, value]) => Object.hasOwn(theirs, name) && same(value, theirs[name]));
}
