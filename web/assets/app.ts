import { Ledger } from "./continuity.ts";
import { make, part } from "./dom.ts";
import { PublishPanel } from "./publish-panel.ts";
import { SubscriberPanel } from "./subscriber-panel.ts";
import { CONTROL_NAMES } from "./subscription.ts";
import { startTheme } from "./theme.ts";
import { topicProblem } from "./topic.ts";

const TOPIC_DEFAULT = "demo";

startTheme();

const topicInput = part(document, "topic", HTMLInputElement);
const startSelect = part(document, "start", HTMLSelectElement);
const announcer = part(document, "announcer", HTMLElement);
const template = part(document, "subscriber", HTMLTemplateElement);

const announce = (text: string): void => void (announcer.textContent = text);

const panels = ["Subscriber A", "Subscriber B"].map(
  (title) => new SubscriberPanel(template, title, announce),
);
part(document, "subscribers", HTMLElement).append(...panels.map(({ element }) => element));

const names = new Set(["message"]);
let topic = "";
let ledger = new Ledger();

const publisher = new PublishPanel(document.querySelector(".publish") as HTMLElement, {
  topic: () => topic,
  announce,
  onName: listenFor,
  onPublished: (target, { id }) => {
    if (target !== topic) return;
    ledger.add(id);
    for (const panel of panels) panel.refresh();
  },
});

/** An EventSource needs a listener before an event of that name comes, not after. */
function listenFor(name: string): void {
  if (name !== "") names.add(name);
  for (const panel of panels) panel.listenFor(name === "" ? "message" : name);
  const shown = [...names, ...CONTROL_NAMES].flatMap((each, index) => {
    const code = make("code", "", each);
    return index === 0 ? [code] : [", ", code];
  });
  part(document, "names", HTMLElement).replaceChildren(...shown);
}

/** Makes `name` the page's topic, in its address too; says what is wrong with it otherwise. */
function open(name: string): void {
  const problem = topicProblem(name);
  part(document, "topicProblem", HTMLElement).textContent = problem ?? "";
  topicInput.value = name;
  topicInput.setAttribute("aria-invalid", String(problem !== undefined));
  if (problem !== undefined) return topicInput.focus();
  topic = name;
  ledger = new Ledger();
  document.title = `${name} · Sluice playground`;
  publisher.refresh();
  for (const panel of panels) panel.follow({ topic, start: startSelect.value, ledger, names });
}

function topicOfAddress(): string {
  return new URLSearchParams(location.search).get("topic") ?? TOPIC_DEFAULT;
}

part(document, "topicForm", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const name = topicInput.value.trim();
  if (topicProblem(name) === undefined && name !== topicOfAddress()) {
    history.pushState(null, "", `?topic=${name}`);
  }
  open(name);
});
startSelect.addEventListener("change", () => open(topicInput.value.trim()));
addEventListener("popstate", () => open(topicOfAddress()));
// A page kept for the back button would hold two of the six connections to this origin.
addEventListener("pagehide", () => panels.forEach((panel) => panel.close()));
addEventListener("pageshow", (event) => {
  if (event.persisted) open(topic);
});

listenFor("");
open(topicOfAddress());
