import { BlockList, isIP } from "node:net";

/**
 * What no request may make Sluice connect to: everything that the IANA registries of special-purpose
 * addresses (RFC 6890 and updates) do not call globally reachable, multicast, and the one metadata
 * address that a cloud has put among the public ones.
 */
const IPV4_FORBIDDEN = listOf("ipv4", [
  "0.0.0.0/8", // this network; 0.0.0.0 connects to loopback
  "10.0.0.0/8",
  "100.64.0.0/10", // carrier-grade NAT (RFC 6598), and the metadata of Alibaba, 100.100.100.200
  "127.0.0.0/8",
  "168.63.129.16/32", // Azure's wire server
  "169.254.0.0/16", // link-local, and most clouds' metadata, 169.254.169.254
  "172.16.0.0/12",
  "192.0.0.0/24", // protocol assignments, and the metadata of Oracle, 192.0.0.192
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // 6to4 relays (RFC 7526)
  "192.168.0.0/16",
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, and broadcast
]);
/** Global unicast; loopback, ULA, link-local, site-local and multicast are all outside of it. */
const IPV6_GLOBAL = listOf("ipv6", ["2000::/3"]);
const IPV6_FORBIDDEN = listOf("ipv6", [
  "2001::/23", // protocol assignments: Teredo (it carries an IPv4 address), ORCHID, benchmarks
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4: carries an IPv4 address, and is obsolete (RFC 7526)
  "3fff::/20", // documentation (RFC 9637)
]);
/** Two forms that lead to the IPv4 address in their last 32 bits: mapped, and NAT64 (RFC 6052, 2.1). */
const IPV4_CARRIERS = [
  [0, 0, 0, 0, 0, 0xffff],
  [0x64, 0xff9b, 0, 0, 0, 0],
] as const;

/** True for an address of the public Internet, in whichever form; false for all else, and for no address. */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !IPV4_FORBIDDEN.check(address, "ipv4");
  // A zone (`fe80::1%eth0`) is of this machine's own links.
  if (version !== 6 || address.includes("%")) return false;
  const carried = carriedIpv4(groupsOf(address));
  if (carried !== undefined) return isPublicAddress(carried);
  return IPV6_GLOBAL.check(address, "ipv6") && !IPV6_FORBIDDEN.check(address, "ipv6");
}

function listOf(family: "ipv4" | "ipv6", ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/");
    list.addSubnet(address, Number(bits), family);
  }
  return list;
}

function carriedIpv4(groups: readonly number[]): string | undefined {
  if (!IPV4_CARRIERS.some((prefix) => prefix.every((group, at) => groups[at] === group))) {
    return undefined;
  }
  const [high = 0, low = 0] = groups.slice(6);
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`;
}

/** The eight groups of an IPv6 address that `isIP` has accepted. The URL parser writes dotted tails in hex. */
function groupsOf(address: string): number[] {
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}
