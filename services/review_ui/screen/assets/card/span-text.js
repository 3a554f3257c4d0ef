// A text with its labelled places, on the screen: draws them, and says what is selected. Places are
// UTF-16 units of the text.
import { stretches } from "./span-list.js";
import { make, shortText } from "../show.js";

const HUES = 8;
const NAMED = 24; // characters of a label in the text

/** @typedef {import("./span-list.js").Span} Span */
/** @typedef {import("./word-steps.js").Selected} Selected */

/**
 * The class that tells the label at this place among the others from its neighbours.
 * @param {number} place
 */
export function hue(place) {
  return `rv-hue-${Math.max(0, place) % HUES}`;
}

/** A stretch as it stands on the screen: its text, in a mark where spans cover it. */
class Part {
  /**
   * @param {import("./span-list.js").Stretch} stretch
   * @param {string} text
   * @param {readonly string[]} labels
   */
  constructor({ start, end, covers }, text, labels) {
    this.start = start;
    this.end = end;
    this.covers = covers;
    this.node = document.createTextNode(text.slice(start, end));
    const inner = covers.at(-1);
    /** @type {HTMLElement | null} */
    this.mark = inner === undefined ? null : make("mark", `rv-span ${hue(labels.indexOf(inner.label))}`, [this.node]);
    if (this.mark === null) return;
    this.mark.dataset.tag = covers
      .flatMap((each) => (each.end === end ? shortText(each.label, NAMED) : []))
      .join(" · ");
  }

  /** What stands in the text. */
  get element() {
    return this.mark ?? this.node;
  }

  /** @param {import("./span-list.js").Stretch | undefined} stretch */
  shows(stretch) {
    const { covers, end, start } = this;
    if (stretch?.start !== start || stretch.end !== end || stretch.covers.length !== covers.length) return false;
    return covers.every((each, nth) => each === stretch.covers[nth]);
  }

  /** @param {Span | null} active */
  activate(active) {
    if (this.mark === null) return;
    const on = active !== null && this.covers.includes(active);
    this.mark.classList.toggle("rv-active", on);
    if (on) this.mark.setAttribute("aria-current", "true");
    else this.mark.removeAttribute("aria-current");
  }
}

export class SpanText {
  text = "";
  /** @type {readonly string[]} */
  labels = [];
  /** What is drawn, in order. @type {Part[]} */
  parts = [];

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  /**
   * Another text.
   * @param {string} text
   * @param {readonly Span[]} spans sorted
   * @param {readonly string[]} labels
   */
  draw(text, spans, labels) {
    Object.assign(this, { text, labels, parts: [] });
    this.element.replaceChildren();
    this.redraw(spans, null);
  }

  /**
   * Other spans of the same text: only what differs is drawn, a long text has thousands of places.
   * @param {readonly Span[]} spans sorted
   * @param {Span | null} active
   */
  redraw(spans, active) {
    const { labels, parts, text } = this;
    const now = stretches(spans, text.length);
    let head = 0;
    while (head < parts.length && parts[head]?.shows(now[head])) head += 1;
    let tail = 0;
    const most = Math.min(parts.length, now.length) - head;
    while (tail < most && parts.at(-1 - tail)?.shows(now.at(-1 - tail))) tail += 1;
    const fresh = now.slice(head, now.length - tail).map((each) => new Part(each, text, labels));
    const gone = parts.splice(head, parts.length - tail - head, ...fresh);
    for (const { element } of gone) element.remove();
    const after = parts[head + fresh.length]?.element ?? null;
    const drawn = document.createDocumentFragment();
    drawn.append(...fresh.map(({ element }) => element));
    this.element.insertBefore(drawn, after);
    this.activate(active);
  }

  /**
   * Shows another span as the active one.
   * @param {Span | null} active
   */
  activate(active) {
    for (const part of this.parts) part.activate(active);
  }

  /**
   * The innermost span of the mark that was clicked.
   * @param {EventTarget | null} target
   */
  spanAt(target) {
    const mark = target instanceof Element && target.closest("mark");
    return this.parts.find((each) => each.mark !== null && each.mark === mark)?.covers.at(-1) ?? null;
  }

  /** What is selected within the text; null: nothing. @returns {Selected | null} */
  selected() {
    const selection = getSelection();
    if (selection === null || selection.isCollapsed) return null;
    const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
    const [anchor, focus] = [this.#place(anchorNode, anchorOffset), this.#place(focusNode, focusOffset)];
    return anchor === null || focus === null ? null : { anchor, focus };
  }

  /**
   * The place a line below this one, or above it.
   * @param {number} place
   * @param {1 | -1} way
   */
  below(place, way) {
    this.select({ anchor: place, focus: place });
    const selection = getSelection();
    selection?.modify("move", way > 0 ? "forward" : "backward", "line");
    return (selection && this.#place(selection.focusNode, selection.focusOffset)) ?? place;
  }

  /** @param {Selected} selected */
  select({ anchor, focus }) {
    getSelection()?.setBaseAndExtent(...this.#point(anchor, false), ...this.#point(focus, true));
    this.#reveal();
  }

  unselect() {
    if (this.selected()) getSelection()?.removeAllRanges();
  }

  /** Scrolls the moving end of the selection into sight. */
  #reveal() {
    const selection = getSelection();
    if (!selection?.focusNode) return;
    const range = document.createRange();
    range.setStart(selection.focusNode, selection.focusOffset);
    this.#scrollTo(range.getBoundingClientRect());
  }

  /** Scrolls the first place into sight; the page stays where it is. */
  revealFirst() {
    const first = this.parts.find(({ mark }) => mark !== null)?.mark;
    if (first) this.#scrollTo(first.getBoundingClientRect());
  }

  /** @param {DOMRect} at */
  #scrollTo(at) {
    const box = this.element.getBoundingClientRect();
    const line = at.height * 1.5;
    if (at.top < box.top + line) this.element.scrollTop += at.top - box.top - line;
    else if (at.bottom > box.bottom - line) this.element.scrollTop += at.bottom - box.bottom + line;
  }

  /**
   * @param {Node | null} node
   * @param {number} offset
   */
  #place(node, offset) {
    if (node === null || !this.element.contains(node)) return null;
    const known = this.parts.find((each) => each.node === node);
    if (known) return known.start + offset;
    const range = document.createRange();
    range.setStart(this.element, 0);
    range.setEnd(node, offset);
    return range.toString().length;
  }

  /**
   * @param {number} place
   * @param {boolean} ending at a border: of the text before it, not of the one behind
   * @returns {[Node, number]}
   */
  #point(place, ending) {
    const known = this.parts.findLast(({ start }) => (ending ? start < place : start <= place));
    const { node, start } = known ?? this.parts[0] ?? { node: this.element, start: place };
    return [node, place - start];
  }
}
