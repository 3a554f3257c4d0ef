// A selection that goes through a text by words, in UTF-16 units.

/** @typedef {{ start: number, end: number }} Stretch */
/** From where it was begun to where it goes on. @typedef {{ anchor: number, focus: number }} Selected */

/**
 * The words of a text, in order.
 * @param {string} text
 * @param {string} [language]
 * @returns {Stretch[]}
 */
export function words(text, language) {
  const found = [...new Intl.Segmenter(language, { granularity: "word" }).segment(text)];
  return found.flatMap(({ index, segment, isWordLike }) =>
    isWordLike ? [{ start: index, end: index + segment.length }] : [],
  );
}

/**
 * The word after what is selected, or before it; the last one, or the first, stays.
 * @param {readonly Stretch[]} all
 * @param {Selected | null} selected
 * @param {1 | -1} way
 * @returns {Selected | null}
 */
export function moved(all, selected, way) {
  const [low, high] = selected ? ends(selected) : [0, 0];
  const ahead = all.findIndex(({ start }) => start >= high);
  const behind = all.findLastIndex(({ end }) => end <= low);
  const first = selected === null ? 0 : way > 0 ? ahead : behind;
  const word = all[first < 0 ? (way > 0 ? all.length - 1 : 0) : first];
  return word === undefined ? null : { anchor: word.start, focus: word.end };
}

/**
 * The selection with its moving end a word further. It never shrinks to nothing: instead it grows at
 * its other end.
 * @param {readonly Stretch[]} all
 * @param {Selected} selected
 * @param {1 | -1} way
 * @returns {Selected}
 */
export function extended(all, { anchor, focus }, way) {
  const grows = focus > anchor === way > 0;
  const [low, high] = ends({ anchor, focus });
  if (!grows) {
    const inner =
      way > 0
        ? all.find(({ start }) => start > focus && start < high)?.start
        : all.findLast(({ end }) => end < focus && end > low)?.end;
    if (inner !== undefined) return { anchor, focus: inner };
  }
  const outer = way > 0 ? all.find(({ end }) => end > high)?.end : all.findLast(({ start }) => start < low)?.start;
  if (outer === undefined) return { anchor, focus };
  return { anchor: way > 0 ? low : high, focus: outer };
}

/**
 * @param {Selected} selected
 * @returns {[number, number]}
 */
export function ends({ anchor, focus }) {
  return anchor < focus ? [anchor, focus] : [focus, anchor];
}

/**
 * Without blanks around it; null: nothing but blanks.
 * @param {string} text
 * @param {Selected} selected
 * @returns {Selected | null}
 */
export function trimmed(text, selected) {
  const [low, high] = ends(selected);
  const part = text.slice(low, high);
  const start = high - part.trimStart().length;
  const end = low + part.trimEnd().length;
  if (start >= end) return null;
  return selected.anchor <= selected.focus ? { anchor: start, focus: end } : { anchor: end, focus: start };
}
