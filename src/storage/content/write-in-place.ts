/** Writes into a volume that is there. */
import { open } from 'node:fs/promises'
import type { CallOptions, Content } from '../../driver/index.ts'
import { punchHole, writeParts } from '../../host/index.ts'

/** In a volume that is there: what is a hole becomes zeros. */
export async function writeInPlace(
  path: string,
  content: Content,
  {
    offset = 0,
    end,
    signal,
    progress,
  }: { readonly offset?: number | undefined; readonly end: number } & CallOptions,
): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await writeParts(file, content, {
      offset,
      end,
      signal,
      findsHoles: false,
      async makeHole(at, length) {
        if (await punchHole(file.fd, at, length)) return
        const zeros = Buffer.alloc(Math.min(length, 2 ** 20))
        for (let done = 0; done < length; done += zeros.length)
          await file.write(zeros, 0, Math.min(zeros.length, length - done), at + done)
      },
      onWritten: (done) => progress?.({ phase: 'writing', done: done - offset, unit: 'bytes' }),
    })
    await file.sync()
  } finally {
    await file.close()
  }
}
