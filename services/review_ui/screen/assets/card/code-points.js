// Where something stands in a text: the API counts Unicode code points, the browser UTF-16 units, of
// which an emoji takes two.

export class CodePoints {
  /** The units at which code points of two units begin, in order. @type {number[]} */
  wide = [];

  /** @param {string} text */
  constructor(text) {
    this.size = text.length;
    for (const { index } of text.matchAll(/[\ud800-\udbff][\udc00-\udfff]/g)) this.wide.push(index);
  }

  /**
   * The code points before this unit; within one, those before it.
   * @param {number} unit
   */
  before(unit) {
    return unit - below(this.wide, (at) => at + 1 < unit) - this.#within(unit);
  }

  /**
   * The unit at which this code point begins.
   * @param {number} point
   */
  unit(point) {
    // The nth wide one is the code point n before its unit.
    return point + below(this.wide, (at, nth) => at - nth < point);
  }

  /** @param {number} unit */
  #within(unit) {
    const at = this.wide[below(this.wide, (each) => each + 1 < unit)];
    return at !== undefined && at + 1 === unit ? 1 : 0;
  }
}

/**
 * How many of the sorted values are low: the first that is not, by halves.
 * @param {number[]} values
 * @param {(value: number, nth: number) => boolean} low
 */
function below(values, low) {
  let [from, to] = [0, values.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (low(values[middle] ?? 0, middle)) from = middle + 1;
    else to = middle;
  }
  return from;
}
