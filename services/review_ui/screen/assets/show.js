// How does a value become something to look at? Always as text, never as markup.

export function make(tag, classes, content) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (Array.isArray(content)) element.append(...content);
  else if (content !== undefined) element.textContent = content;
  return element;
}

export function span(text, classes) {
  return make("span", classes, text);
}

export function percent(share) {
  // 99.7 % is not 100 %: never round up to certainty.
  const value = share * 100;
  return `${value > 99 && value < 100 ? Math.min(value, 99.9).toFixed(1) : Math.round(value)} %`;
}

/** `days`: the pattern for days, in the page's language. */
export function seconds(value, days) {
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5_400) return `${Math.round(value / 60)} min`;
  if (value < 129_600) return `${Math.round(value / 3_600)} h`;
  return days.replace("{n}", Math.round(value / 86_400));
}

export function shortText(text, most) {
  if (text.length <= most) return text;
  return `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, "")}…`; // no half of a character
}
