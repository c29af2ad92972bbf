/**
 * A guest for tests that reads and writes its disks without a kernel: a boot sector that obeys its serial port.
 *
 * It prints `ready`. `m` and a character puts that into its memory; `?` says `#` and what is there (`0` at
 * first). `w1aX` fills a sector of its second disk (`1`), at place `a`, with X and says `!X`; `r1a` reads it
 * and says `=X`, an `E` when it cannot. Places are 128 KiB apart, from sector 0.
 */
import { writeFile } from 'node:fs/promises'
import type { ByteStream, CompleteConnection } from '../../../driver/index.ts'
import { bootDisk } from '../emulator/kvm.ts'

const program =
  '6gV8AAAxwI7YjsCO0LwAfPu6+wOwA+6+0HyshMB0BeiMAOv26HoAPG10Djw/dBA8d3QWPHJ0L+vr6GUAor18sCPoagCgvXzrLegvAOhSAL8A' +
  'gLkAAvOqtEPoMgCwIehNAKAAgOsQ6BIAtELoIACwPeg7AKAAgOg1AOup6CMALDAEgKK+fOgZACxhosl8wzDAiha+fL7AfM0TcwXGBgCARcO6' +
  '/QPsqAF0+7r4A+zDULr9A+yoIHT7WLr4A+7DMACQEAABAACAAAAAAAAAAAAAAHJlYWR5CgA='

/** Writes the disk that it boots from; it is never written to. */
export function writeDiskGuest(path: string): Promise<void> {
  return writeFile(path, bootDisk(program))
}

/** The guest on the other end of a console. */
export interface DiskGuest {
  write(disk: number, place: string, what: string): Promise<void>
  /** `.` for what was never written. */
  read(disk: number, place: string): Promise<string>
  remember(what: string): Promise<void>
  recall(): Promise<string>
  close(): Promise<void>
}

/** Talks to a guest that runs; `booting` waits until it has come up. */
export async function talkTo(
  { domains }: Pick<CompleteConnection, 'domains'>,
  uuid: string,
  { booting = false } = {},
): Promise<DiskGuest> {
  const console = await domains.openConsole(uuid, { scrollback: booting })
  const said = reader(console)
  if (booting) await said.until(/ready\n/u)
  const ask = async (command: string, mark: string) => {
    await console.write(Buffer.from(command, 'latin1'))
    const [, answer = ''] = await said.until(new RegExp(`${mark}([^])`, 'u'))
    return answer === '\0' ? '.' : answer
  }
  return {
    async write(disk, place, what) {
      const answer = await ask(`w${disk}${place}${what}`, '!')
      if (answer !== what) throw new Error(`The guest could not write: ${answer}`)
    },
    read: (disk, place) => ask(`r${disk}${place}`, '='),
    async remember(what) {
      await ask(`m${what}`, '#')
    },
    recall: () => ask('?', '#'),
    close: () => console.close(),
  }
}

function reader(console: ByteStream) {
  const chunks = console[Symbol.asyncIterator]()
  let text = ''
  return {
    async until(pattern: RegExp): Promise<RegExpExecArray> {
      const patience = setTimeout(() => void console.close(), 240_000)
      try {
        for (;;) {
          const found = pattern.exec(text)
          if (found) {
            text = text.slice(found.index + found[0].length)
            return found
          }
          const { value, done } = await chunks.next()
          if (done) throw new Error(`The guest said only ${JSON.stringify(text)}`)
          text += Buffer.from(value).toString('latin1')
        }
      } finally {
        clearTimeout(patience)
      }
    },
  }
}
