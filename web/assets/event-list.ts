import { make } from "./dom.ts";

const ROWS_MAX = 500;
const SHOWN_LENGTH_MAX = 2_000;
// Closer to the end than this counts as "at the end", in CSS pixels: the list follows what comes.
const FOLLOW_PX = 40;

export interface Delivered {
  readonly id: string;
  /** The event's name, `message` if it has none. */
  readonly name: string;
  readonly data: string;
}

/** What happened to the connection. Each kind has its colour in the style sheet. */
export type MarkKind = "open" | "cut" | "resume" | "gap" | "close" | "end";

/** A line between events, whose detail may become known later. */
export interface Mark {
  tell(detail: string): void;
}

/** The rows of one subscriber, newest at the bottom. It holds the newest 500 and paints once a frame. */
export class EventList {
  readonly #scroller: HTMLElement;
  readonly #list: HTMLElement;
  readonly #onPaint: () => void;
  #pending: HTMLElement[] = [];
  #isScheduled = false;

  constructor(scroller: HTMLElement, list: HTMLElement, onPaint: () => void) {
    this.#scroller = scroller;
    this.#list = list;
    this.#onPaint = onPaint;
  }

  add(event: Delivered): void {
    this.#append(eventRow(event));
  }

  mark(kind: MarkKind, text: string): Mark {
    const row = make("li", "mark");
    row.dataset["kind"] = kind;
    row.append(make("strong", "", text), " ");
    const detail = make("span", "mark-detail");
    row.append(detail);
    this.#append(row);
    return { tell: (text) => (detail.textContent = text) };
  }

  clear(): void {
    this.#pending = [];
    this.#list.replaceChildren();
    this.schedule();
  }

  /** Paints in the next frame; a thousand events in one turn are one paint. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#paint();
    });
  }

  #append(row: HTMLElement): void {
    this.#pending.push(row);
    // A page in the background is painted no frames; what it would drop anyway is dropped now.
    if (this.#pending.length > ROWS_MAX) this.#pending.shift();
    this.schedule();
  }

  #paint(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const isFollowing = scrollHeight - scrollTop - clientHeight < FOLLOW_PX;
    this.#list.append(...this.#pending);
    this.#pending = [];
    while (this.#list.childElementCount > ROWS_MAX) this.#list.firstElementChild?.remove();
    this.#onPaint();
    if (isFollowing) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

function eventRow(event: Delivered): HTMLElement {
  const row = make("li", "event");
  row.dataset["id"] = event.id;
  const dot = Math.max(0, event.id.lastIndexOf("."));
  const id = make("span", "id");
  id.title = event.id;
  // The epoch is the same in row after row: the style sheet shortens it.
  id.append(make("span", "epoch", event.id.slice(0, dot)), make("b", "seq", event.id.slice(dot)));
  row.append(id, make("span", "name", event.name), make("span", "data", shown(event.data)));
  return row;
}

function shown(data: string): string {
  if (data.length <= SHOWN_LENGTH_MAX) return data;
  return `${data.slice(0, SHOWN_LENGTH_MAX)}… (${data.length.toLocaleString("en")} characters)`;
}
