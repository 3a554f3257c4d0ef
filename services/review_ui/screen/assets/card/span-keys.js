// The keys of the card for spans: arrows go by word, Shift extends, Tab walks through what is there.
import { ends, extended, moved } from "./word-steps.js";

/** @typedef {import("./span-editor.js").SpanEditor} SpanEditor */
/** @typedef {1 | -1} Way */

const NEAR = 40; // units to look for the next character in

/**
 * Whether the key has a meaning here; then it is done.
 * @param {SpanEditor} editor
 * @param {KeyboardEvent} event
 * @param {boolean} reading the text has the focus, or nothing has
 * @returns {boolean}
 */
export function spanKey(editor, event, reading) {
  const { key, altKey, metaKey, ctrlKey, shiftKey } = event;
  if (altKey || metaKey || (ctrlKey && !shiftKey)) return false;
  /** @type {Record<string, () => boolean>} */
  const does = {
    Tab: () => reading && !ctrlKey && walk(editor, shiftKey ? -1 : 1),
    ArrowRight: () => step(editor, 1, shiftKey, ctrlKey),
    ArrowLeft: () => step(editor, -1, shiftKey, ctrlKey),
    ArrowDown: () => toLine(editor, 1, shiftKey),
    ArrowUp: () => toLine(editor, -1, shiftKey),
    Backspace: () => editor.remove(),
    Delete: () => editor.remove(),
    Escape: () => editor.choose(null, null),
    m: () => turn(editor),
    M: () => turn(editor),
  };
  return does[key]?.() ?? false;
}

/**
 * The next span; false after the last, so that Tab leaves the text.
 * @param {SpanEditor} editor
 * @param {Way} way
 */
function walk(editor, way) {
  const { active, selected, spans } = editor;
  const [low, high] = selected ? ends(selected) : way > 0 ? [0, 0] : [Infinity, Infinity];
  const at = active ? spans.indexOf(active) : -1;
  const near = way > 0 ? spans.find(({ start }) => start >= high) : spans.findLast(({ end }) => end <= low);
  const span = active ? spans[at + way] : near;
  if (span === undefined) {
    editor.choose(null, null);
    return false;
  }
  editor.element.focus({ preventScroll: true });
  editor.activate(span);
  return true;
}

/**
 * @param {SpanEditor} editor
 * @param {Way} way
 * @param {boolean} extending
 * @param {boolean} byCharacter
 */
function step(editor, way, extending, byCharacter) {
  const { selected } = editor;
  const steps = byCharacter ? characters(editor) : editor.words;
  if (extending && selected) editor.reach(extended(steps, selected, way));
  else editor.choose(moved(steps, selected, way), null);
  return true;
}

/**
 * Those around the selection, as people count them: no step leaves half of one.
 * @param {SpanEditor} editor
 */
function characters({ selected, text }) {
  const [low, high] = selected ? ends(selected) : [0, 0];
  const from = Math.max(0, low - NEAR);
  const found = new Intl.Segmenter().segment(text.slice(from, high + NEAR));
  return [...found].map(({ index, segment }) => ({
    start: from + index,
    end: from + index + segment.length,
  }));
}

/**
 * To the word above or below; where nothing is selected these keys scroll.
 * @param {SpanEditor} editor
 * @param {Way} way
 * @param {boolean} extending
 */
function toLine(editor, way, extending) {
  const { selected, words } = editor;
  if (selected === null) return false;
  const place = editor.drawn.below(selected.focus, way);
  const word = words.find(({ end }) => end >= place) ?? words.at(-1);
  if (word === undefined) return true;
  const focus = word.end > selected.anchor ? word.end : word.start;
  if (extending) editor.reach({ anchor: selected.anchor, focus });
  else editor.choose({ anchor: word.start, focus: word.end }, null);
  return true;
}

/**
 * The other end of the selection is the one that moves.
 * @param {SpanEditor} editor
 */
function turn(editor) {
  const { selected } = editor;
  if (selected === null) return false;
  editor.choose({ anchor: selected.focus, focus: selected.anchor }, editor.active);
  return true;
}
