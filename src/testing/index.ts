export { brokerConformance } from "./broker-conformance.ts";
export type { BrokerConformanceOptions } from "./broker-conformance.ts";
export type { ConformanceCase } from "./conformance-case.ts";
export { Checker, check } from "./checker.ts";
export type { CheckOptions, Verdict } from "./checker.ts";
export { FakeConnection } from "./fake-connection.ts";
export type { FakeConnectionOptions } from "./fake-connection.ts";
export { Numbering, hashOf } from "./history.ts";
export type {
  EventRecord,
  GapRecord,
  HistoryRecord,
  NumberedData,
  OpenRecord,
  PublishRecord,
} from "./history.ts";
export { Dice, seededRandom } from "./random.ts";
export { transportConformance } from "./transport-conformance.ts";
export type { TransportHarness, TransportPeer } from "./transport-conformance.ts";
export { UnsteadyBroker } from "./unsteady-broker.ts";
export type { UnsteadyOptions } from "./unsteady-broker.ts";
export { VirtualRuntime } from "./virtual-runtime.ts";
