import { startCopy } from "./copy.ts";
import { curlPublish } from "./curl.ts";
import type { PublishInput } from "./curl.ts";
import { make, part } from "./dom.ts";
import { problemCard, problemOf, unreachable } from "./problem.ts";
import type { Problem } from "./problem.ts";
import { publishUrl } from "./topic.ts";

const BURST_COUNT = 100;
// 100 events then take some 4 s: long enough to cut a reader in the middle and see it resume.
const BURST_PACE_MS = 40;

export interface Published {
  readonly id: string;
  readonly durability: string;
}

export interface PublisherOwner {
  /** The topic that is open now. */
  topic(): string;
  /** An event of this name is about to be published; empty for one without a name. */
  onName(name: string): void;
  /** For those who do not see the page. */
  announce(text: string): void;
  onPublished(topic: string, published: Published): void;
}

/** The form that publishes, its answers, and the command that does the same. */
export class PublishPanel {
  readonly #root: HTMLElement;
  readonly #owner: PublisherOwner;
  #count = 1;
  #burst: AbortController | undefined;

  constructor(root: HTMLElement, owner: PublisherOwner) {
    this.#root = root;
    this.#owner = owner;
    const form = part(root, "publishForm", HTMLFormElement);
    form.addEventListener("input", () => this.refresh());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#publishOne();
    });
    form.addEventListener("keydown", (event) => {
      const isSubmit = event.key === "Enter" && (event.ctrlKey || event.metaKey);
      if (isSubmit && event.target instanceof HTMLTextAreaElement) form.requestSubmit();
    });
    part(root, "burst", HTMLButtonElement).addEventListener(
      "click",
      () => void this.#publishMany(),
    );
    startCopy(part(root, "copy", HTMLButtonElement), part(root, "curl", HTMLElement));
  }

  /** Brings the curl command up to date. */
  refresh(): void {
    const command = curlPublish(this.#input(), document.baseURI);
    part(this.#root, "curl", HTMLElement).textContent = command;
  }

  /** What the form says now, with `{n}` counted. */
  #input(): PublishInput {
    const type = this.#root.querySelector<HTMLInputElement>("input[name=type]:checked");
    return {
      topic: this.#owner.topic(),
      event: part(this.#root, "eventName", HTMLInputElement).value,
      type: type?.value ?? "text/plain",
      data: part(this.#root, "data", HTMLTextAreaElement).value.replaceAll(
        "{n}",
        String(this.#count),
      ),
    };
  }

  async #publishOne(): Promise<boolean> {
    const input = this.#input();
    this.#count += 1;
    this.refresh();
    this.#owner.onName(input.event);
    const outcome = await send(input);
    if ("title" in outcome) {
      this.#show(problemCard(outcome));
      return false;
    }
    this.#owner.onPublished(input.topic, outcome);
    // A burst would be read out for minutes.
    if (this.#burst === undefined) this.#owner.announce(`Published as ${outcome.id}`);
    this.#show(receipt(outcome));
    return true;
  }

  async #publishMany(): Promise<void> {
    const button = part(this.#root, "burst", HTMLButtonElement);
    if (this.#burst !== undefined) return this.#burst.abort();
    this.#burst = new AbortController();
    const { signal } = this.#burst;
    const topic = this.#owner.topic();
    for (let sent = 0; sent < BURST_COUNT && !signal.aborted; sent += 1) {
      button.textContent = `Stop at ${sent}`;
      const due = performance.now() + BURST_PACE_MS;
      // Another topic was opened: the rest of the burst was not meant for it.
      if (this.#owner.topic() !== topic || !(await this.#publishOne())) break;
      await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    }
    this.#burst = undefined;
    button.textContent = `Publish ${BURST_COUNT}`;
  }

  #show(card: HTMLElement): void {
    part(this.#root, "result", HTMLElement).replaceChildren(card);
  }
}

async function send(input: PublishInput): Promise<Published | Problem> {
  const { topic, event, type, data } = input;
  try {
    const response = await fetch(publishUrl(topic, event, document.baseURI), {
      method: "POST",
      headers: { "Content-Type": type },
      body: data,
    });
    if (!response.ok) return await problemOf(response);
    return (await response.json()) as Published;
  } catch {
    return unreachable();
  }
}

function receipt({ id, durability }: Published): HTMLElement {
  const card = make("p", "receipt", "Published as ");
  card.append(make("code", "", id), ` (durability: ${durability})`);
  return card;
}
