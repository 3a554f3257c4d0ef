// What was changed between two texts, word by word.

const MOST = 3_000; // words and signs on each side: more are first compared by sentence

const MAX_COST = 400; // another text altogether: word by word says nothing, and takes long

/** @typedef {{ kind: "same" | "gone" | "new", text: string }} Part */

/** @param {string} text @returns {Part} */
const kept = (text) => ({ kind: "same", text });
/** @param {string} text @returns {Part} */
const gone = (text) => ({ kind: "gone", text });
/** @param {string} text @returns {Part} */
const fresh = (text) => ({ kind: "new", text });

/**
 * The shortest way from one text to the other, as parts to keep, to take away and to add.
 * @param {string} before
 * @param {string} after
 * @returns {Part[]}
 */
export function difference(before, after) {
  const [old, now] = [pieces(before), pieces(after)];
  const long = Math.max(old.length, now.length) > MOST;
  return joined(long ? bySentence(before, after) : compared(old, now));
}

/**
 * First which sentences differ, then what differs in them.
 * @param {string} before
 * @param {string} after
 * @returns {Part[]}
 */
function bySentence(before, after) {
  /** @type {Part[]} */
  const found = [];
  /** @type {string[]} */
  let out = [];
  /** @type {string[]} */
  let in_ = [];
  const settle = () => {
    // As many as before: each is taken for the one in its place, changed.
    const pairs = out.length === in_.length ? out.map((each, nth) => [each, in_[nth]]) : [[out.join(""), in_.join("")]];
    for (const [one, other] of pairs) found.push(...compared(pieces(one ?? ""), pieces(other ?? "")));
    [out, in_] = [[], []];
  };
  for (const part of compared(sentences(before), sentences(after))) {
    if (part.kind === "gone") out.push(part.text);
    else if (part.kind === "new") in_.push(part.text);
    else {
      settle();
      found.push(part);
    }
  }
  settle();
  return found;
}

/**
 * @param {string[]} old
 * @param {string[]} now
 * @returns {Part[]}
 */
function compared(old, now) {
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  const most = Math.min(old.length, now.length) - head;
  while (tail < most && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail += 1;
  const inner = changes(old.slice(head, old.length - tail), now.slice(head, now.length - tail));
  return [...old.slice(0, head).map(kept), ...inner, ...old.slice(old.length - tail).map(kept)];
}

/** With what ends them. @param {string} text */
function sentences(text) {
  return text.match(/[^.!?\n]+[.!?\n]*|[.!?\n]+/gu) ?? [];
}

/** Words, blanks and signs, each by itself. @param {string} text */
function pieces(text) {
  return text.match(/[\p{L}\p{N}\p{M}_]+|\s+|[^\p{L}\p{N}\p{M}_\s]/gu) ?? [];
}

/**
 * Myers, "An O(ND) Difference Algorithm and Its Variations" (1986).
 * @param {string[]} old
 * @param {string[]} now
 * @returns {Part[]}
 */
function changes(old, now) {
  const [n, m] = [old.length, now.length];
  /** @type {Part[]} */
  const all = [...old.map(gone), ...now.map(fresh)];
  if (n === 0 || m === 0 || n > MOST || m > MOST) return all;
  /** How far each diagonal has come, before each round. @type {Map<number, number>[]} */
  const rounds = [];
  let far = new Map([[1, 0]]);
  for (let cost = 0; cost <= MAX_COST; cost += 1) {
    rounds.push(far);
    const next = new Map(far);
    for (let k = -cost; k <= cost; k += 2) {
      const down = k === -cost || (k !== cost && reached(far, k - 1) < reached(far, k + 1));
      let x = down ? reached(far, k + 1) : reached(far, k - 1) + 1;
      while (x < n && x - k < m && old[x] === now[x - k]) x += 1;
      next.set(k, x);
      if (x >= n && x - k >= m) return walkedBack(rounds, old, now);
    }
    far = next;
  }
  return all;
}

/**
 * @param {Map<number, number>} far
 * @param {number} k
 */
function reached(far, k) {
  return far.get(k) ?? -1;
}

/**
 * @param {Map<number, number>[]} rounds
 * @param {string[]} old
 * @param {string[]} now
 */
function walkedBack(rounds, old, now) {
  /** @type {Part[]} */
  const parts = [];
  let [x, y] = [old.length, now.length];
  for (let cost = rounds.length - 1; cost >= 0; cost -= 1) {
    const far = rounds[cost] ?? new Map();
    const k = x - y;
    const down = k === -cost || (k !== cost && reached(far, k - 1) < reached(far, k + 1));
    const before = down ? k + 1 : k - 1;
    const fromX = cost === 0 ? 0 : reached(far, before);
    const fromY = cost === 0 ? 0 : fromX - before;
    while (x > fromX && y > fromY) {
      parts.push(kept(old[x - 1] ?? ""));
      x -= 1;
      y -= 1;
    }
    if (cost === 0) break;
    parts.push(down ? fresh(now[fromY] ?? "") : gone(old[fromX] ?? ""));
    [x, y] = [fromX, fromY];
  }
  return parts.reverse();
}

/**
 * Neighbours of a kind as one; between two changes what is gone comes first.
 * @param {Part[]} parts
 */
function joined(parts) {
  /** @type {Part[]} */
  const found = [];
  let [out, in_] = ["", ""];
  const settle = () => {
    if (out) found.push(gone(out));
    if (in_) found.push(fresh(in_));
    [out, in_] = ["", ""];
  };
  for (const { kind, text } of parts) {
    if (kind === "gone") out += text;
    else if (kind === "new") in_ += text;
    else {
      settle();
      const last = found.at(-1);
      if (last?.kind === "same") last.text += text;
      else found.push({ kind, text });
    }
  }
  settle();
  return found;
}
