// Values as something to look at: always as text, never as markup.

/**
 * An element with these classes, and a text or parts in it.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [classes]
 * @param {string | (Node | string)[]} [content]
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, classes, content) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (Array.isArray(content)) element.append(...content);
  else if (content !== undefined) element.textContent = content;
  return element;
}

/**
 * @param {string} text
 * @param {string} [classes]
 */
export function span(text, classes) {
  return make("span", classes, text);
}

/**
 * A button that sends no form.
 * @param {string} classes
 * @param {string | (Node | string)[]} content
 * @param {() => void} [pressed]
 */
export function makeButton(classes, content, pressed) {
  const button = make("button", classes, content);
  button.type = "button";
  if (pressed) button.addEventListener("click", pressed);
  return button;
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  // 99.7 % is not 100 %: never round up to certainty.
  const value = share * 100;
  return `${value > 99 && value < 100 ? Math.min(value, 99.9).toFixed(1) : Math.round(value)} %`;
}

/**
 * @param {number} value
 * @param {string} days the pattern for days, in the page's language
 */
export function seconds(value, days) {
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5_400) return `${Math.round(value / 60)} min`;
  if (value < 129_600) return `${Math.round(value / 3_600)} h`;
  return days.replace("{n}", String(Math.round(value / 86_400)));
}

/**
 * @param {string} text
 * @param {number} most characters
 */
export function shortText(text, most) {
  if (text.length <= most) return text;
  return `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, "")}…`; // no half of a character
}
