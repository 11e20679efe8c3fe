import type { Delivered } from "./event-list.ts";
import { problemOf, unreachable } from "./problem.ts";
import type { Problem } from "./problem.ts";
import { ackUrl, subscribeUrl } from "./topic.ts";

/** `cut`: by the page. `ended`: the topic is finished. `failed`: refused, and EventSource gave up. */
export type State = "connecting" | "open" | "reconnecting" | "cut" | "ended" | "failed";

/** What the gateway says about the connection itself. */
export const CONTROL_NAMES = ["hello", "gap", "close", "end"] as const;
export type ControlName = (typeof CONTROL_NAMES)[number];

/** Names that EventSource dispatches of its own accord; nobody can publish them. */
const OWN_NAMES = ["open", "error"];

/** Who is told what happens to a subscription. */
export interface SubscriptionOwner {
  onState(state: State): void;
  onEvent(event: Delivered): void;
  onControl(name: ControlName, data: string, id: string): void;
  onRefused(problem: Problem): void;
}

/** One native EventSource after another, each going on where the last one stood. */
export class Subscription {
  state: State = "cut";
  /** The last id, or what was asked for as long as there is none. */
  place: string;
  readonly #topic: string;
  readonly #owner: SubscriptionOwner;
  readonly #names = new Set<string>();
  #source: EventSource | undefined;
  /** What hello called the connection. */
  #connection: string | undefined;

  constructor(topic: string, start: string, names: Iterable<string>, owner: SubscriptionOwner) {
    this.#topic = topic;
    this.place = start;
    this.#owner = owner;
    for (const name of names) this.listenFor(name);
  }

  /** Hands on events of this name from now on: an EventSource drops those without a listener. */
  listenFor(name: string): void {
    const isTaken = OWN_NAMES.includes(name) || (CONTROL_NAMES as readonly string[]).includes(name);
    if (isTaken || this.#names.has(name)) return;
    this.#names.add(name);
    this.#source?.addEventListener(name, this.#onEvent);
  }

  /** Connects behind `place`. */
  open(): void {
    this.close();
    const source = new EventSource(subscribeUrl(this.#topic, this.place, document.baseURI));
    this.#source = source;
    this.#move("connecting");
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      if (source.readyState === EventSource.CLOSED) this.#ask(source);
      else if (this.state !== "reconnecting") this.#move("reconnecting");
    });
    for (const name of this.#names) source.addEventListener(name, this.#onEvent);
    for (const name of CONTROL_NAMES) source.addEventListener(name, this.#onControl);
  }

  /** Really closes the connection; what is published from now on waits in the log. */
  cut(): void {
    this.close();
    this.#move("cut");
  }

  /** Closes it without a word. */
  close(): void {
    this.#source?.close();
    this.#source = undefined;
  }

  readonly #onEvent = (event: MessageEvent<string>): void => {
    if (event.target !== this.#source) return;
    this.#opened();
    if (event.lastEventId !== "") this.place = event.lastEventId;
    this.#owner.onEvent({ id: event.lastEventId, name: event.type, data: event.data });
  };

  readonly #onControl = (event: MessageEvent<string>): void => {
    if (event.target !== this.#source) return;
    if (event.type === "close") this.#acknowledge(event.data);
    else this.#opened();
    if (event.lastEventId !== "") this.place = event.lastEventId;
    if (event.type === "hello") {
      this.#connection = (JSON.parse(event.data) as { connection: string }).connection;
    }
    this.#owner.onControl(event.type as ControlName, event.data, event.lastEventId);
    if (event.type !== "end") return;
    // Nothing can follow; without this the browser would ask once more and be answered 204.
    this.close();
    this.#move("ended");
  };

  /** Not when EventSource says so: a gateway without room answers 200 too, and says goodbye at once. */
  #opened(): void {
    if (this.state === "connecting" || this.state === "reconnecting") this.#move("open");
  }

  /** A gateway that drains waits to hear that its goodbye has come. It waits in vain if this fails. */
  #acknowledge(reason: string): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (reason !== "pool_draining" || connection === undefined) return;
    fetch(ackUrl(connection, document.baseURI), { method: "POST" }).catch(() => {});
  }

  #move(state: State): void {
    this.state = state;
    this.#owner.onState(state);
  }

  /** EventSource gave up and tells nobody why; the same request by fetch does. */
  #ask(source: EventSource): void {
    const request = new AbortController();
    const { signal } = request;
    fetch(source.url, { signal, headers: { Accept: "text/event-stream" } })
      .then(async (response) => {
        if (source !== this.#source) return;
        if (response.status === 204) return this.#move("ended");
        this.#move("failed");
        // Accepted this time: whoever reads may try again.
        if (!response.ok) this.#owner.onRefused(await problemOf(response));
      })
      .catch(() => {
        if (source !== this.#source) return;
        this.#move("failed");
        this.#owner.onRefused(unreachable());
      })
      .finally(() => request.abort());
  }
}
