import { BlockList, isIP } from "node:net";

/** Hops of `X-Forwarded-For` that are looked at: the header is the client's to write, up to 16 KiB of it. */
const HOPS_MAX = 32;
/** One IPv6 client has a whole /64 (RFC 6177, RFC 7934): to count by address would be no bound for it. */
const IPV6_GROUPS = 4;

/** The proxies in front that are believed; addresses and ranges as `10.0.0.0/8`. */
export function trustedList(addresses: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of addresses) {
    const [address = "", bits] = text.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/** True for an address that is on the list, also if it is an IPv4 address written as an IPv6 one. */
export function isTrusted(list: BlockList, address: string): boolean {
  const plain = unmapped(address);
  const version = isIP(plain);
  return version !== 0 && list.check(plain, version === 6 ? "ipv6" : "ipv4");
}

/**
 * The client's address, if `peer` is a proxy that is trusted: the first one from the right of
 * `X-Forwarded-For` that is not. What stands left of it the client may have written itself. Where the
 * list says nothing that can be used, the last hop that is known counts.
 */
export function forwardedAddress(
  list: BlockList,
  peer: string,
  header: string | readonly string[] | undefined,
): string {
  if (header === undefined || !isTrusted(list, peer)) return peer;
  const text = typeof header === "string" ? header : header.join(",");
  let known = peer;
  let end = text.length;
  for (let hop = 0; hop < HOPS_MAX && end > 0; hop += 1) {
    const comma = text.lastIndexOf(",", end - 1);
    const address = addressOf(text.slice(comma + 1, end));
    if (address === undefined) return known;
    known = address;
    if (!isTrusted(list, address)) return known;
    end = comma;
  }
  return known;
}

/** What connections are counted by: the address, or the /64 of an IPv6 one. */
export function addressKey(address: string): string {
  const plain = unmapped(address);
  if (isIP(plain) !== 6) return plain;
  const [head = "", tail] = (plain.split("%", 1)[0] ?? "").toLowerCase().split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  // A tail in dotted form stands for two groups; neither is among the first four.
  const groups = right.length + (tail?.includes(".") === true ? 1 : 0);
  const zeros = tail === undefined ? 0 : 8 - left.length - groups;
  const all = [...left, ...Array.from({ length: zeros }, () => "0"), ...right];
  const prefix = all.slice(0, IPV6_GROUPS).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${prefix.join(":")}::/64`;
}

/** `::ffff:192.0.2.1` is how a socket that takes both families shows an IPv4 peer. */
function unmapped(address: string): string {
  return /^::ffff:[0-9.]+$/i.test(address) ? address.slice(7) : address;
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function addressOf(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed.length > 64) return undefined;
  const bare =
    /^\[([^\]]*)\](?::[0-9]{1,5})?$/.exec(trimmed)?.[1] ??
    /^([0-9.]+):[0-9]{1,5}$/.exec(trimmed)?.[1] ??
    trimmed;
  return isIP(bare) === 0 ? undefined : bare;
}
