// The labelled places of a text, as an answer of kind spans: sorted, none twice, and without overlaps
// where the workflow wants none. In whatever unit; the answer counts code points.

/** @typedef {{ start: number, end: number, label: string }} Span */
/** Text between two borders, and what covers it. @typedef {{ start: number, end: number, covers: Span[] }} Stretch */

/**
 * @param {Span} one
 * @param {Span} other
 */
export function inOrder(one, other) {
  return one.start - other.start || one.end - other.end || (one.label < other.label ? -1 : 1);
}

/**
 * The list with this one as well; what must not overlap it has to go.
 * @param {readonly Span[]} spans
 * @param {Span} span
 * @param {boolean} overlap whether spans may
 */
export function added(spans, span, overlap) {
  const kept = spans.filter((each) =>
    overlap ? !sameSpan(each, span) : each.end <= span.start || span.end <= each.start,
  );
  return [...kept, span].sort(inOrder);
}

/**
 * @param {Span} one
 * @param {Span} other
 */
export function sameSpan(one, other) {
  return one.start === other.start && one.end === other.end && one.label === other.label;
}

/**
 * The text between all places at which a span begins or ends, with the spans that cover it.
 * @param {readonly Span[]} spans sorted
 * @param {number} size of the text
 * @returns {Stretch[]}
 */
export function stretches(spans, size) {
  const places = new Set([0, size]);
  for (const { start, end } of spans) places.add(start).add(end);
  const cuts = [...places].filter((place) => place <= size).sort((one, other) => one - other);
  /** @type {Span[]} */
  let open = [];
  let next = 0;
  return cuts.slice(0, -1).map((start, nth) => {
    open = open.filter((each) => each.end > start);
    for (let span = spans[next]; span && span.start <= start; span = spans[next]) {
      open.push(span);
      next += 1;
    }
    return { start, end: cuts[nth + 1] ?? size, covers: open };
  });
}
