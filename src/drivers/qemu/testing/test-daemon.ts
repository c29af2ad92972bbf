/**
 * A daemon for tests, to be killed: opens the driver on the directory it is given, does one thing after
 * another to its guests for ever, and says on stdout what has been acknowledged.
 */
import { join } from 'node:path'
import { type GuestUserOptions, guard, type OpenOptions, silentLog } from '../../../driver/index.ts'
import { openStore } from '../../../host/index.ts'
import { driver } from '../index.ts'
import { testDefinition } from './test-guest.ts'

/** Opens the driver as a daemon on this directory would. */
export async function openTestDriver(
  directory: string,
  more: GuestUserOptions & Pick<OpenOptions, 'hooks'> = {},
) {
  const store = await openStore(join(directory, 'store.db'))
  const opening = driver.open(new URL('qemu:///system'), {
    stateDirectory: join(directory, 'state'),
    runtimeDirectory: join(directory, 'run'),
    store,
    log: silentLog,
    ...more,
  })
  const inner = await opening.catch(async (error: unknown) => {
    await store.close()
    throw error
  })
  const connection = guard(inner)
  return {
    ...connection,
    async close() {
      await connection.close()
      await store.close()
    },
  }
}

async function live(directory: string, name: string): Promise<void> {
  const { domains } = await openTestDriver(directory)
  const say = (...words: string[]) => void process.stdout.write(`${words.join(' ')}\n`)
  const { uuid } = await domains.define(testDefinition(name, join(directory, 'disk.raw')))
  say('defined', uuid)
  for (;;) {
    say('begin', 'start')
    await domains.start(uuid)
    say('running')
    say('begin', 'save')
    await domains.save(uuid)
    say('saved')
    say('begin', 'restore')
    await domains.start(uuid)
    say('running')
    say('begin', 'destroy')
    await domains.destroy(uuid)
    say('off')
  }
}

/** Starts one guest from a disk, or with `--start` one that is defined, says its process id, and stays. */
async function keepOne(directory: string, name: string, disk: string): Promise<void> {
  const { domains } = await openTestDriver(directory)
  const { uuid } =
    disk === '--start' ? await domains.get(name) : await domains.define(testDefinition(name, disk))
  await domains.start(uuid)
  process.stdout.write(`${(await domains.get(uuid)).pid}\n`)
  setInterval(() => {}, 1000)
}

const [, , directory, name, disk] = process.argv
if (import.meta.main && directory && name)
  await (disk === undefined ? live(directory, name) : keepOne(directory, name, disk))
