export { SluiceClientError } from "./error.ts";
export type { ClientErrorCode, ProblemDocument } from "./error.ts";
export { publish } from "./publish.ts";
export type { PublishReceipt, PublishRequestOptions } from "./publish.ts";
export { subscribe } from "./subscribe.ts";
export type { Reconnect, SubscribeOptions } from "./subscribe.ts";
export type { ReceivedEnd, ReceivedEvent, ReceivedGap, ReceivedItem } from "./items.ts";
