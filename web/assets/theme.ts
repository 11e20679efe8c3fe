import { part } from "./dom.ts";

const KEY = "sluice-theme";

type Theme = "light" | "dark";

/** Storage is refused in some private windows; the theme then lives as long as the page. */
function remembered(): Theme | undefined {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "light" || theme === "dark" ? theme : undefined;
  } catch {
    return undefined;
  }
}

function remember(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // See `remembered`.
  }
}

/** Applies the remembered theme, else the system's, and wires the button that changes it. */
export function startTheme(): void {
  const button = part(document, "theme", HTMLButtonElement);
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = remembered();
  const show = (): void => {
    if (theme !== undefined) document.documentElement.dataset["theme"] = theme;
    button.setAttribute("aria-pressed", String((theme ?? systemTheme()) === "dark"));
  };
  const systemTheme = (): Theme => (system.matches ? "dark" : "light");
  button.addEventListener("click", () => {
    theme = (theme ?? systemTheme()) === "dark" ? "light" : "dark";
    remember(theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}
