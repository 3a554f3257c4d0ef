// An order that hangs on a text alone: the same person sees the same item in the same order, and
// others see it in another one.

/**
 * 0 to count - 1 in the order that `seed` says.
 * @param {number} count
 * @param {string} seed
 */
export function shuffled(count, seed) {
  const order = Array.from({ length: count }, (_, place) => place);
  let state = hash(seed);
  for (let left = count - 1; left > 0; left -= 1) {
    state = mixed(state + 0x9e3779b9);
    const other = state % (left + 1);
    [order[left], order[other]] = [order[other] ?? 0, order[left] ?? 0];
  }
  return order;
}

/** FNV-1a, 32 bits. @param {string} text */
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit. @param {number} value */
function mixed(value) {
  let bits = value >>> 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
