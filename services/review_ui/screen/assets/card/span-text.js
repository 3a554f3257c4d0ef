// A text with its labelled places, on the screen: draws them, and says what is selected. Places are
// UTF-16 units of the text.
import { stretches } from "./span-list.js";
import { make } from "../show.js";

const HUES = 8;

/** @typedef {import("./span-list.js").Span} Span */
/** @typedef {import("./word-steps.js").Selected} Selected */

/**
 * The class that tells the label at this place among the others from its neighbours.
 * @param {number} place
 */
export function hue(place) {
  return `rv-hue-${Math.max(0, place) % HUES}`;
}

export class SpanText {
  /** The text nodes that are drawn, with where each begins. @type {{ node: Text, start: number }[]} */
  nodes = [];
  /** @type {WeakMap<Element, Span[]>} */
  covers = new WeakMap();

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  /**
   * @param {string} text
   * @param {readonly Span[]} spans sorted
   * @param {readonly string[]} labels
   * @param {Span | null} active
   */
  draw(text, spans, labels, active) {
    this.covers = new WeakMap();
    this.nodes = [];
    const parts = stretches(spans, text.length).map(({ start, end, covers }) => {
      const node = document.createTextNode(text.slice(start, end));
      this.nodes.push({ node, start });
      const inner = covers.at(-1);
      if (inner === undefined) return node;
      const mark = make("mark", `rv-span ${hue(labels.indexOf(inner.label))}`, [node]);
      mark.dataset.tag = covers.flatMap((each) => (each.end === end ? each.label : [])).join(" · ");
      this.covers.set(mark, covers);
      this.#show(mark, active);
      return mark;
    });
    this.element.replaceChildren(...parts);
  }

  /**
   * Shows another span as the active one.
   * @param {Span | null} active
   */
  activate(active) {
    for (const mark of this.element.querySelectorAll("mark")) this.#show(mark, active);
  }

  /**
   * @param {HTMLElement} mark
   * @param {Span | null} active
   */
  #show(mark, active) {
    const on = active !== null && (this.covers.get(mark)?.includes(active) ?? false);
    mark.classList.toggle("rv-active", on);
    if (on) mark.setAttribute("aria-current", "true");
    else mark.removeAttribute("aria-current");
  }

  /**
   * The innermost span of the mark that was clicked.
   * @param {EventTarget | null} target
   */
  spanAt(target) {
    const mark = target instanceof Element && target.closest("mark");
    return (mark && this.covers.get(mark)?.at(-1)) || null;
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
    const at = range.getBoundingClientRect();
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
    const known = this.nodes.find((each) => each.node === node);
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
    const known = this.nodes.findLast(({ start }) => (ending ? start < place : start <= place));
    const { node, start } = known ?? this.nodes[0] ?? { node: this.element, start: place };
    return [node, place - start];
  }
}
