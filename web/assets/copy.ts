const SHOWN_MS = 2_500;

/**
 * Copies the text of `source` when `button` is pressed. Where the clipboard is refused (a page that
 * is not on loopback and not on HTTPS has none) the text, which is always in view, gets selected.
 */
export function startCopy(button: HTMLButtonElement, source: HTMLElement): void {
  const label = button.textContent;
  let timer = 0;
  const say = (text: string): void => {
    button.textContent = text;
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = label), SHOWN_MS);
  };
  button.addEventListener("click", () => {
    const copied = navigator.clipboard?.writeText(source.textContent) ?? Promise.reject();
    copied.then(
      () => say("Copied"),
      () => {
        getSelection()?.selectAllChildren(source);
        source.closest("pre")?.focus();
        say("Press Ctrl+C");
      },
    );
  });
}
