import type { ByteStream } from '../../driver/index.ts'
import { openConsoleViewer } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Running } from './guest.ts'

/** More typed bytes than this are handed to the machine in several parts. */
const partBytes = 64 * 1024

/** A viewer at a serial port: what is printed comes from the log, what is typed goes to the machine. */
export async function openConsole(
  { consoles, control }: Running,
  port: number,
  scrollback: boolean,
): Promise<ByteStream> {
  const log = consoles[port]
  if (!log) throw new VisorError('internal', `The machine has no log of its serial port ${port}.`)
  return openConsoleViewer(log, {
    scrollback,
    async write(bytes) {
      for (let at = 0; at < bytes.length; at += partBytes) {
        const data = Buffer.from(bytes.subarray(at, at + partBytes)).toString('base64')
        await control.ask({ do: 'type', port, data })
      }
    },
  })
}
