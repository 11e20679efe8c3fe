import { Continuity } from "./continuity.ts";
import type { Ledger, Place } from "./continuity.ts";
import { startCopy } from "./copy.ts";
import { curlSubscribe } from "./curl.ts";
import { part } from "./dom.ts";
import { EventList } from "./event-list.ts";
import type { Delivered, Mark, MarkKind } from "./event-list.ts";
import type { Problem } from "./problem.ts";
import { Subscription } from "./subscription.ts";
import type { ControlName, State, SubscriptionOwner } from "./subscription.ts";

const RESUME_AFTER_S = 3;
const SLOW_MS = 4_000;

const STATES: Readonly<Record<State, { label: string; button: string }>> = {
  connecting: { label: "connecting", button: "Cut" },
  open: { label: "open", button: "Cut" },
  reconnecting: { label: "reconnecting", button: "Cut" },
  cut: { label: "cut", button: "Resume" },
  ended: { label: "ended", button: "Open again" },
  failed: { label: "failed", button: "Try again" },
};

/** What `event: close` means, in words. */
const GOODBYES: Readonly<Record<string, string>> = {
  pool_draining: "The gateway shuts down",
  max_age: "The gateway renews the connection",
  overloaded: "The gateway has no room now",
  closed_by_operator: "An operator closed the connection",
  internal_error: "The gateway made a mistake",
};

/** What a page shows to all of its subscribers. */
export interface Feed {
  readonly topic: string;
  readonly start: string;
  readonly ledger: Ledger;
  readonly names: ReadonlySet<string>;
}

/** A stretch without connection, judged until all of it has come. */
interface Break {
  readonly from: Place | undefined;
  readonly place: string;
  readonly repeated: number;
  to?: Place | undefined;
  mark?: Mark;
}

/** One subscriber: its connection, its list, and what it can say about continuity. */
export class SubscriberPanel implements SubscriptionOwner {
  readonly element: HTMLElement;
  readonly #announce: (text: string) => void;
  readonly #title: string;
  readonly #list: EventList;
  readonly #at: <T extends Element>(name: string, type: new () => T) => T;
  #feed: Feed | undefined;
  #subscription: Subscription | undefined;
  #continuity: Continuity | undefined;
  #break: Break | undefined;
  /** The gateway has said why: the end that follows is no surprise. */
  #isGoodbye = false;
  #received = 0;
  #countdown = 0;
  #slow = 0;

  constructor(template: HTMLTemplateElement, title: string, announce: (text: string) => void) {
    const clone = template.content.cloneNode(true) as DocumentFragment;
    this.element = clone.firstElementChild as HTMLElement;
    this.#announce = announce;
    this.#title = title;
    this.#at = (name, type) => part(this.element, name, type);
    const heading = this.#at("title", HTMLElement);
    heading.textContent = title;
    heading.id = `subscriber-${title.at(-1)?.toLowerCase() ?? ""}`;
    this.element.setAttribute("aria-labelledby", heading.id);
    const scroller = this.#at("scroller", HTMLElement);
    scroller.setAttribute("aria-label", `Events of ${title}`);
    this.#list = new EventList(scroller, this.#at("events", HTMLElement), () => this.#show());
    this.#at("cut", HTMLButtonElement).addEventListener("click", () => this.#cutOrResume());
    this.#at("clear", HTMLButtonElement).addEventListener("click", () => this.#list.clear());
    const curl = this.#at("curl", HTMLElement);
    curl.parentElement?.setAttribute("aria-label", `curl command that goes on from ${title}`);
    startCopy(this.#at("copy", HTMLButtonElement), curl);
  }

  /** Leaves what it followed and follows this. */
  follow(feed: Feed): void {
    this.close();
    this.#feed = feed;
    this.#continuity = new Continuity(feed.ledger);
    this.#break = undefined;
    this.#isGoodbye = false;
    this.#received = 0;
    this.#list.clear();
    this.#subscription = new Subscription(feed.topic, feed.start, feed.names, this);
    this.#subscription.open();
  }

  listenFor(name: string): void {
    this.#subscription?.listenFor(name);
  }

  /** The ledger has grown: what is lost or awaited may have changed. */
  refresh(): void {
    this.#list.schedule();
  }

  close(): void {
    clearInterval(this.#countdown);
    clearTimeout(this.#slow);
    this.#subscription?.close();
  }

  onState(state: State): void {
    const badge = this.#at("state", HTMLElement);
    badge.textContent = STATES[state].label;
    badge.dataset["state"] = state;
    this.element.dataset["state"] = state;
    this.#at("cut", HTMLButtonElement).textContent = STATES[state].button;
    clearInterval(this.#countdown);
    clearTimeout(this.#slow);
    if (state === "connecting") this.#slow = setTimeout(() => this.#tellSlow(), SLOW_MS);
    if (state === "cut") this.#breakOff("cut", "Cut here", "The log goes on without this reader.");
    if (state === "reconnecting" && !this.#isGoodbye) {
      this.#breakOff("cut", "Connection lost", "The browser reconnects by itself.");
    }
    if (state === "open") this.#opened();
  }

  onEvent(event: Delivered): void {
    this.#received += 1;
    this.#continuity?.saw(event.id);
    this.#list.add(event);
  }

  onControl(name: ControlName, data: string, id: string): void {
    if (name === "hello") {
      this.#continuity?.startAt(id);
      this.refresh();
    } else if (name === "gap") {
      this.#gap(data);
    } else if (name === "close") {
      this.#isGoodbye = true;
      const words = Object.hasOwn(GOODBYES, data) ? GOODBYES[data] : "The gateway closes";
      const detail = "The browser reconnects by itself and goes on at the next event.";
      this.#breakOff("close", `${words} (${data})`, detail);
    } else {
      this.#received += 1;
      this.#continuity?.saw(id);
      const { reason } = fieldsOf(data);
      this.#say("end", `The topic has ended: ${reason ?? data}`);
    }
  }

  onRefused({ title, detail, hint }: Problem): void {
    const text = [detail, hint].filter((part) => part !== undefined).join(" ");
    this.#say("gap", `Refused: ${title}`, text);
  }

  #cutOrResume(): void {
    const subscription = this.#subscription;
    if (subscription === undefined) return;
    const isOn = ["connecting", "open", "reconnecting"].includes(subscription.state);
    if (!isOn) return subscription.open();
    subscription.cut();
    const button = this.#at("cut", HTMLButtonElement);
    let left = RESUME_AFTER_S;
    const count = (): void => {
      if (left === 0) return subscription.open();
      button.textContent = `Resume (${left})`;
      left -= 1;
    };
    count();
    this.#countdown = setInterval(count, 1_000);
  }

  #opened(): void {
    this.#isGoodbye = false;
    const broken = this.#break;
    if (broken === undefined || broken.mark !== undefined) {
      this.#say("open", "Connected");
      return;
    }
    broken.to = this.#feed?.ledger.head;
    broken.mark = this.#say("resume", `Resumed after ${broken.place}`);
    this.refresh();
  }

  #breakOff(kind: MarkKind, title: string, detail: string): void {
    const continuity = this.#continuity;
    const place = this.#subscription?.place ?? "";
    this.#say(kind, title, detail);
    // Lost while not yet resumed: the stretch began earlier.
    if (this.#break !== undefined && this.#break.mark === undefined) return;
    const from = continuity?.last ?? continuity?.origin;
    this.#break = { from, place, repeated: continuity?.repeated ?? 0 };
  }

  #gap(data: string): void {
    const { reason, from, to } = fieldsOf(data);
    if (to !== undefined) this.#continuity?.startAt(to);
    const after = from !== undefined ? `after ${from} ` : "";
    this.#say(
      "gap",
      `Gap: ${reason ?? data}`,
      `What lies ${after}up to ${to ?? "now"} is not kept.`,
    );
  }

  #say(kind: MarkKind, title: string, detail = ""): Mark {
    const mark = this.#list.mark(kind, title);
    mark.tell(detail);
    this.#announce(`${this.#title}: ${title}. ${detail}`);
    return mark;
  }

  #tellSlow(): void {
    const advice =
      "A browser opens six HTTP/1.1 connections to one origin: close other tabs of this page.";
    this.#say("close", "Still connecting", advice);
  }

  /** What stands beside the list; once per painted frame, however many events came. */
  #show(): void {
    const continuity = this.#continuity;
    const place = this.#subscription?.place ?? "";
    const isIdKnown = place !== this.#feed?.start;
    this.#at("lastId", HTMLElement).textContent = isIdKnown ? place : "none yet";
    this.#at("received", HTMLElement).textContent = String(this.#received);
    this.#count("lost", continuity?.lost ?? 0);
    this.#count("repeated", continuity?.repeated ?? 0);
    this.#at("empty", HTMLElement).hidden = this.#at("events", HTMLElement).childElementCount > 1;
    if (this.#feed !== undefined) {
      const command = curlSubscribe(this.#feed.topic, place, document.baseURI);
      this.#at("curl", HTMLElement).textContent = command;
    }
    this.#break?.mark?.tell(this.#verdict());
  }

  #count(name: string, count: number): void {
    const element = this.#at(name, HTMLElement);
    element.textContent = String(count);
    element.classList.toggle("is-wrong", count > 0);
  }

  /** Claims only what the page can know: what became of the events that it published itself. */
  #verdict(): string {
    const { from, to, repeated } = this.#break ?? {};
    const continuity = this.#continuity;
    if (continuity === undefined || from === undefined || to === undefined) return "";
    const { published, received, lost, awaited } = continuity.judge(from, to);
    if (published === 0) return "Nothing was published here meanwhile.";
    const meanwhile = `${published} published here meanwhile: ${received} received`;
    if (awaited > 0) return `${meanwhile}, ${awaited} on their way.`;
    return `${meanwhile}, ${lost} lost, ${continuity.repeated - (repeated ?? 0)} repeated.`;
  }
}

/** The members of a control event's data that are text; none if it is no object. */
function fieldsOf(json: string): Record<string, string | undefined> {
  try {
    const members = Object.entries(JSON.parse(json) as object);
    return Object.fromEntries(members.filter(([, value]) => typeof value === "string"));
  } catch {
    return {};
  }
}
