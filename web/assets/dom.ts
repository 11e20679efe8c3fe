/** The element below `root` that carries `data-part="<name>"`. Throws if the page has none of that type. */
export function part<T extends Element>(root: ParentNode, name: string, type: new () => T): T {
  const found = root.querySelector(`[data-part="${name}"]`);
  if (found instanceof type) return found;
  throw new TypeError(`the page has no ${type.name} with data-part="${name}"`);
}

/** A new element with a class and text. Text is never parsed: events are anybody's. */
export function make(tag: string, className: string, text = ""): HTMLElement {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.textContent = text;
  return element;
}
