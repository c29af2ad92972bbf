// Guests that come and go leave nothing: no process, file, socket, control group, and no memory in visord.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ByteStream, CompleteConnection } from '../../src/driver/index.ts'
import { writeBootSector } from '../fixtures/boot-sector.ts'
import { files, guestCgroups, guestProcesses, openFiles } from '../fixtures/footprint.ts'
import { bootSectorMachines, missing } from '../fixtures/machines.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

/** The first ones fill caches and logs that are kept. */
const warmUp = 100
const rounds = 500
/** Guests at once. */
const atOnce = 2
/** What the logs of events and jobs may still grow by, and the slack of a garbage collector. */
const heapBound = 16 * 2 ** 20
const residentBound = 48 * 2 ** 20

/** On SIGUSR2 visord collects its garbage and tells what is left. */
const tellMemory = `
  process.on('SIGUSR2', () => {
    gc(); gc();
    process.stderr.write('MEMORY ' + JSON.stringify(process.memoryUsage()) + '\\n')
  })`

describe('guests that come and go leave nothing', { skip: missing('qemu') }, () => {
  test(`${rounds} rounds of start and destroy`, async (context) => {
    const directory = await mkdtemp(join(tmpdir(), 'visor-leaks-'))
    context.after(() => rm(directory, { recursive: true, force: true }))
    const disk = await writeBootSector(join(directory, 'boot.raw'))
    const visord = await startVisord({
      drivers: ['qemu'],
      nodeArguments: ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(tellMemory)}`],
    })
    context.after(() => visord.dispose())
    try {
      const connection = await visord.connect()
      const domains = await Promise.all(
        Array.from({ length: atOnce }, (_, number) =>
          connection.domains.define(bootSectorMachines.qemu(`leak-${number}`, disk)),
        ),
      )
      const uuids = domains.map(({ uuid }) => uuid)
      await startAndDestroy(connection, uuids, warmUp)
      const before = await look(visord, uuids)
      await startAndDestroy(connection, uuids, rounds - warmUp)
      const after = await look(visord, uuids)
      context.diagnostic(
        `heap ${mib(before.heap)} then ${mib(after.heap)}, in all ${mib(before.resident)} then ${mib(after.resident)} MiB`,
      )
      assert.deepEqual(after.processes, [], 'No guest is left.')
      assert.deepEqual(after.cgroups, [], 'No control group is left.')
      assert.deepEqual(after.files, before.files, 'There are the files that were there.')
      assert.deepEqual(after.openFiles, before.openFiles, 'visord has open what it had open.')
      assert.ok(
        after.heap - before.heap < heapBound,
        `The heap grew from ${before.heap} to ${after.heap} bytes.`,
      )
      const grown = after.resident - before.resident
      assert.ok(grown < residentBound, `visord grew from ${before.resident} to ${after.resident} bytes.`)
      for (const uuid of uuids) await connection.domains.undefine(uuid)
      await connection.close()
      await visord.stop()
    } catch (error) {
      console.error(visord.log().split('\n').slice(-40).join('\n'))
      throw error
    } finally {
      for (const { pid } of await guestProcesses(visord.directories)) process.kill(pid, 'SIGKILL')
    }
  })
})

async function startAndDestroy({ domains }: CompleteConnection, uuids: readonly string[], count: number) {
  await Promise.all(
    uuids.map(async (uuid) => {
      for (let round = 0; round < count / uuids.length; round++) {
        await domains.start(uuid)
        // Some with somebody at the console, who sees its end.
        const watched = round % 10 === 0 ? watch(await domains.openConsole(uuid)) : undefined
        await domains.destroy(uuid)
        await watched
      }
    }),
  )
}

async function watch(console: ByteStream): Promise<void> {
  for await (const _ of console);
}

async function look(visord: Visord, uuids: readonly string[]) {
  const { heapUsed: heap, rss: resident } = await readMemory(visord)
  return {
    heap,
    resident,
    processes: await guestProcesses(visord.directories),
    cgroups: await guestCgroups(uuids),
    // The log that a database writes ahead comes and goes.
    files: (await files(visord.directories)).filter((file) => !/-(wal|shm|journal)$/u.test(file)),
    openFiles: await openFiles(visord.pid),
  }
}

async function readMemory(visord: Visord): Promise<NodeJS.MemoryUsage> {
  const from = visord.log().length
  process.kill(visord.pid, 'SIGUSR2')
  for (let attempt = 0; attempt < 1000; attempt++) {
    const told = /MEMORY (.*)\n/u.exec(visord.log().slice(from))?.[1]
    if (told) return JSON.parse(told)
    await sleep(20)
  }
  throw new Error('visord did not tell its memory.')
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1)
}
