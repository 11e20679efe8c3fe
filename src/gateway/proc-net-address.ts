import { SocketAddress } from "node:net";
import { endianness } from "node:os";

/**
 * `10.0.0.2:54321` or `[2001:db8::2]:54321` from how the kernel's tables have it. An address is one or
 * four words there, each printed as a number of this machine: `0200000A:D431`, where the first byte is
 * the last in the text, but on big-endian machines. Addresses are spelled as `socket.remoteAddress` has
 * them, IPv4 on a dual-stack listener as `::ffff:10.0.0.2`.
 */
export function peerOf(remote: string, order: "LE" | "BE" = endianness()): string {
  const colon = remote.lastIndexOf(":");
  const words = remote.slice(0, colon).match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => {
    const ofWord = [...Buffer.from(word, "hex")];
    return order === "LE" ? ofWord.toReversed() : ofWord;
  });
  const port = Number.parseInt(remote.slice(colon + 1), 16);
  if (bytes.length === 4) return `${bytes.join(".")}:${port}`;
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  const { address } = new SocketAddress({ family: "ipv6", address: groups.join(":") });
  return `[${address}]:${port}`;
}
