// Fields in which an answer is typed: Ctrl+Enter sends it from there, Escape goes back to the card.

/**
 * @param {HTMLElement} field or what holds several
 * @param {{ send: () => void, leave: () => void }} on
 */
export function editable(field, { send, leave }) {
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      leave();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      leave(); // what is typed next is for the next item
      send();
    }
  });
}
