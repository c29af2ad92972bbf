/** The program behind a card of type `vhostuser`: it says what it can do, and moves no packets. */
import type { Socket } from 'node:net'

/** What it was asked, by the names of QEMU's docs/interop/vhost-user.rst. */
const names: Readonly<Record<number, string>> = {
  1: 'GET_FEATURES',
  3: 'SET_OWNER',
  5: 'SET_MEM_TABLE',
  11: 'GET_VRING_BASE',
  15: 'GET_PROTOCOL_FEATURES',
  17: 'GET_QUEUE_NUM',
}

/** VIRTIO_F_VERSION_1, and that it has protocol features; of those, several queues. */
const answers: Readonly<Record<string, bigint>> = {
  GET_FEATURES: (1n << 32n) | (1n << 30n),
  GET_PROTOCOL_FEATURES: 1n,
  GET_QUEUE_NUM: 2n,
  GET_VRING_BASE: 0n,
}

/** Answers whoever is at the other end; `asked` gets what it was asked. */
export function serveCards(socket: Socket, asked: string[]): void {
  let pending = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 12 && pending.length >= 12 + pending.readUInt32LE(8)) {
      const request = pending.readUInt32LE(0)
      pending = pending.subarray(12 + pending.readUInt32LE(8))
      const name = names[request] ?? String(request)
      asked.push(name)
      const answer = answers[name]
      if (answer === undefined) continue
      const reply = Buffer.alloc(20)
      for (const [at, value] of [request, 5, 8].entries()) reply.writeUInt32LE(value, at * 4)
      reply.writeBigUInt64LE(answer, 12)
      socket.write(reply)
    }
  })
}
