/** The program at the other end of a machine's network card: passt, which ends with the machine. */
import { spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { explainPasst, type Packets, streamPackets } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Cable } from './machine-config.ts'

type Program = Extract<Cable, { readonly program: string }>

const mostSaid = 4096
/** Who it is where we are root: nobody, who has no more rights than it needs. */
const nobody = 65_534

/** RFC 826: who has 169.254.77.1? Whatever it asks for, passt answers a machine of this address. */
const question = (mac: readonly number[]): Uint8Array =>
  Uint8Array.from([
    ...[255, 255, 255, 255, 255, 255, ...mac, 0x08, 0x06],
    ...[0, 1, 8, 0, 6, 4, 0, 1, ...mac, 169, 254, 77, 2, 0, 0, 0, 0, 0, 0, 169, 254, 77, 1],
  ])

/**
 * Starts it, with its end of the cable as its file 3; resolves when it has answered a first packet, so that it has
 * all ports it was told to. Fails with `failed` and what it said.
 */
export async function startCable(
  { program, args }: Program,
  mac: string,
  receive: (packet: Uint8Array) => void,
): Promise<Packets> {
  const ids = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {}
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], ...ids })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-mostSaid)
  })
  const stream = child.stdio[3] as Duplex
  return new Promise((resolve, reject) => {
    const fail = (text: string) =>
      reject(explainPasst(new VisorError('failed', `The network of the guest did not start: ${text}`)))
    child.once('error', (error) => fail(error.message))
    child.once('close', () => fail(said.trim()))
    let deliver = (_: Uint8Array) => {
      deliver = receive
      resolve(packets)
    }
    const packets = streamPackets(stream, (packet) => deliver(packet))
    packets.send(question(mac.split(':').map((byte) => Number.parseInt(byte, 16))))
  })
}
