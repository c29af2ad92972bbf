import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { receiveVolume, sendVolume } from '../../src/driver/index.ts'
import { readParts, writeParts } from '../../src/host/index.ts'
import { type Benchmark, timed, type Workbench } from '../harness.ts'
import { openVisord, type Visord } from '../ours/visord.ts'
import { residentMegabytes } from '../processes.ts'

const mebibyte = 2 ** 20
const sizeBytes = 2 ** 30

/** dd takes 1 / 0.8 of the time at most. */
const mostTimes = 1.25
const uploadName = 'visor, upload'
const downloadName = 'visor, download'
const pipeName = 'dd | dd conv=fsync'

/** A file whose bytes are all different, in the cache of pages as those of dd are. */
async function makeSource(bench: Workbench): Promise<string> {
  const path = join(bench.directory, 'source.img')
  await pipe(['if=/dev/urandom', `count=${sizeBytes / mebibyte}`, 'iflag=fullblock'], [`of=${path}`])
  return path
}

/** dd to dd. */
async function pipe(from: readonly string[], to: readonly string[]): Promise<void> {
  const reader = spawn('dd', ['bs=1M', 'status=none', ...from], { stdio: ['ignore', 'pipe', 'inherit'] })
  const writer = spawn('dd', ['bs=1M', 'status=none', 'iflag=fullblock', ...to], {
    stdio: [reader.stdout, 'ignore', 'inherit'],
  })
  reader.stdout.destroy()
  const codes = await Promise.all([once(reader, 'exit'), once(writer, 'exit')])
  if (codes.some(([code]) => code !== 0)) throw new Error('dd failed')
}

const pipeContender = (bench: Workbench, source: string) => ({
  name: pipeName,
  ours: false,
  async sample() {
    const target = join(bench.directory, 'dd.img')
    const milliseconds = await timed(() => pipe([`if=${source}`], [`of=${target}`, 'conv=fsync']))
    await rm(target)
    return milliseconds
  },
})

async function upload({ connection }: Visord, source: string, volume: string): Promise<void> {
  const file = await open(source)
  try {
    const read = (offset: number) => readParts(file, { offset, end: sizeBytes })
    await sendVolume(connection, 'default', { volume, sizeBytes, read, isRepeatable: true })
  } finally {
    await file.close()
  }
}

async function download({ connection }: Visord, volume: string, target: string): Promise<void> {
  const file = await open(target, 'wx')
  try {
    await receiveVolume(connection, 'default', volume, {
      async write(content) {
        await writeParts(file, content, {
          ...{ offset: 0, end: sizeBytes, findsHoles: false, onWritten: () => {} },
          makeHole: (at, length) => file.truncate(at + length),
        })
      },
    })
    await file.sync()
  } finally {
    await file.close()
    await rm(target)
  }
}

export const volumeUpload: Benchmark = {
  id: 'volume-upload',
  title: 'Upload a volume of 1 GiB over the unix socket, durable at its end',
  unit: 'ms',
  rounds: 9,
  aims: [{ ours: uploadName, peer: pipeName, kind: 'at-most-times', value: mostTimes }],
  async prepare(bench) {
    const [source, visord] = [await makeSource(bench), await openVisord(bench)]
    return [
      {
        name: uploadName,
        ours: true,
        async sample() {
          const milliseconds = await timed(() => upload(visord, source, 'up.raw'))
          await visord.connection.volumes.remove('default', 'up.raw')
          return milliseconds
        },
      },
      pipeContender(bench, source),
    ]
  },
}

export const volumeDownload: Benchmark = {
  id: 'volume-download',
  title: 'Download a volume of 1 GiB over the unix socket to a file, durable at its end',
  unit: 'ms',
  rounds: 9,
  aims: [{ ours: downloadName, peer: pipeName, kind: 'at-most-times', value: mostTimes }],
  async prepare(bench) {
    const [source, visord] = [await makeSource(bench), await openVisord(bench)]
    await upload(visord, source, 'down.raw')
    const target = join(bench.directory, 'down.img')
    return [
      { name: downloadName, ours: true, sample: () => timed(() => download(visord, 'down.raw', target)) },
      pipeContender(bench, source),
    ]
  },
}

const memoryName = 'visord, most at any time above before'

export const volumeMemory: Benchmark = {
  id: 'volume-memory',
  title: 'Memory of visord while 1 GiB is uploaded and downloaded',
  unit: 'MB',
  rounds: 3,
  aims: [{ ours: memoryName, kind: 'at-most', value: 64 }],
  async prepare(bench) {
    const [source, visord] = [await makeSource(bench), await openVisord(bench)]
    await upload(visord, source, 'first.raw')
    return [
      {
        name: memoryName,
        ours: true,
        async sample() {
          const before = await residentMegabytes(visord.pid)
          let most = before
          const timer = setInterval(async () => {
            most = Math.max(most, await residentMegabytes(visord.pid))
          }, 50)
          await upload(visord, source, 'up.raw')
          await download(visord, 'up.raw', join(bench.directory, 'down.img'))
          clearInterval(timer)
          await visord.connection.volumes.remove('default', 'up.raw')
          return most - before
        },
      },
    ]
  },
}
