// The words of a page: one file per language with the same keys; the browser's first known language
// counts. A new language is a file xx.json and its name here.

const LANGUAGES = ["en", "de"];

/** The language of this browser, or English. */
export function language() {
  const wanted = navigator.languages.map((each) => each.slice(0, 2).toLowerCase());
  return wanted.find((each) => LANGUAGES.includes(each)) ?? "en";
}

/**
 * The words of one part of the product.
 * @template {keyof Ui.Parts} P
 * @param {P} part
 * @returns {Promise<Ui.Parts[P]>}
 */
export async function words(part) {
  const chosen = language();
  document.documentElement.lang = chosen;
  const response = await fetch(`/ui/words/${chosen}.json`);
  if (!response.ok) throw new Error(`no words in ${chosen}`);
  return (await response.json())[part];
}

/**
 * `text` with the values put into its {places}.
 * @param {string} text
 * @param {Record<string, string | number>} values
 */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * Puts the words into every element under `root` that names one by data-t.
 * @param {ParentNode} root
 * @param {Readonly<Record<string, string>>} given
 */
export function label(root, given) {
  for (const each of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-t]"))) {
    each.textContent = given[each.dataset.t ?? ""] ?? "";
  }
}
