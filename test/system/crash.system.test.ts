// visord may die at any moment: nothing that was acknowledged is lost, no guest dies, none is orphaned.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeBootSector } from '../fixtures/boot-sector.ts'
import { files, guestCgroups, guestProcesses } from '../fixtures/footprint.ts'
import { bootSectorMachines, missing } from '../fixtures/machines.ts'
import { type Random, random } from '../fixtures/random.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'
import { Client } from './crash-client.ts'

/** Machines that take a second of a processor to start are fewer. */
const rounds = [
  { driver: 'qemu', guests: 20, kills: 8 },
  { driver: 'v86', guests: 4, kills: 3 },
] as const

for (const { driver, guests, kills } of rounds)
  describe(`visord is killed while guests of ${driver} come and go`, { skip: missing(driver) }, () => {
    test(`${guests} guests, ${kills} times`, async (context) => {
      const dice = random()
      context.diagnostic(`seed ${dice.seed}: VISOR_TEST_SEED=${dice.seed} makes the same choices`)
      const directory = await mkdtemp(join(tmpdir(), 'visor-crash-'))
      context.after(() => rm(directory, { recursive: true, force: true }))
      const disk = await writeBootSector(join(directory, 'boot.raw'))
      const visord = await startVisord({ drivers: [driver] })
      context.after(() => visord.dispose())
      try {
        await visord.stop()
        const emptyHouse = await files(visord.directories)
        await visord.start()
        const clients = Array.from({ length: guests }, (_, number) => {
          const name = `crash-${number}`
          return new Client(name, visord, dice, (title) => ({
            ...bootSectorMachines[driver](name, disk),
            title,
          }))
        })
        for (let kill = 1; kill <= kills; kill++) {
          await killAtSomeMoment(clients, visord, dice)
          await checkAll(clients, visord)
        }
        const acknowledged = clients.reduce((sum, client) => sum + client.acknowledged, 0)
        context.diagnostic(`${acknowledged} calls were acknowledged`)
        assert.ok(acknowledged > guests, 'The clients got something done.')
        const uuids = clients.flatMap((client) => client.uuids)
        for (const client of clients) await client.clear()
        assert.deepEqual(await guestProcesses(visord.directories), [], 'No guest is left.')
        await visord.stop()
        assert.deepEqual(await guestCgroups(uuids), [], 'No control group is left.')
        assert.deepEqual(await files(visord.directories), emptyHouse, 'No file is left.')
      } catch (error) {
        console.error(`seed ${dice.seed}\n${visord.log().split('\n').slice(-60).join('\n')}`)
        throw error
      } finally {
        for (const { pid } of await guestProcesses(visord.directories)) process.kill(pid, 'SIGKILL')
      }
    })
  })

/** Lets the clients work, kills visord under them, and starts it again. */
async function killAtSomeMoment(clients: readonly Client[], visord: Visord, dice: Random): Promise<void> {
  for (const client of clients) client.go()
  await sleep(50 + dice.below(1500))
  for (const client of clients) client.halt()
  const killed = visord.kill()
  await Promise.all([killed, ...clients.map((client) => client.halted())])
  for (const client of clients) client.checkAlive()
  await sleep(dice.below(300))
  await visord.start()
}

/** After a restart: each client finds what it was promised, and every process belongs to a domain that runs. */
async function checkAll(clients: readonly Client[], visord: Visord): Promise<void> {
  const connection = await visord.connect()
  try {
    for (const client of clients) await client.check(connection)
    const domains = await connection.domains.list({ states: ['running', 'paused'] })
    const processes = await guestProcesses(visord.directories)
    const byNumber = (a: number, b: number) => a - b
    assert.deepEqual(
      processes.map(({ pid }) => pid).sort(byNumber),
      domains.map(({ pid }) => pid ?? 0).sort(byNumber),
      'The processes are those of the domains that run.',
    )
  } finally {
    await connection.close()
  }
}
