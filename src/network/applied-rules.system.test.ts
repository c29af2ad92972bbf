/** Rules that became what they are step by step are those that would have been written at once. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { type Random, random } from '../../test/fixtures/random.ts'
import { isOnTestHost, missingForTestHost, onTestHost, setUpTestHost } from '../../test/fixtures/test-host.ts'
import { NetworkDefinition, type NetworkDefinitionInput, parse } from '../model/index.ts'
import { appliedRules } from './applied-rules.ts'
import { nft } from './commands.ts'
import { completeNetwork } from './complete.ts'
import { noFilters } from './filters/open.ts'
import type { PublishedPort } from './publications.ts'
import { elementsOf, guardedPort, type RuledNetwork } from './rule-elements.ts'
import { formatRules, removeRules } from './rules.ts'

const networkOf = (number: number, more: Partial<NetworkDefinitionInput> = {}) =>
  completeNetwork(
    parse(NetworkDefinition, {
      name: `lab${number}`,
      uuid: `00000000-0000-4000-8000-00000000000${number}`,
      forward: {},
      bridge: `br${number}`,
      portGroups: [{ name: 'slow', bandwidth: { outbound: { average: 1000 + number } } }],
      addresses: [
        { address: `10.${number}.0.1`, prefix: 16 },
        { family: 'ipv6', address: `fd00:${number}::1`, prefix: 64 },
      ],
      ...more,
    }),
    new Set(),
  )

type Draw = Random['below']

function someNetwork(draw: Draw, number: number): RuledNetwork {
  const definition = networkOf(number, draw(4) === 0 ? { forward: { mode: 'route' } } : {})
  const ports = Array.from({ length: 8 }, (_, guest) => guest)
    .filter(() => draw(2) === 0)
    .map((guest) =>
      guardedPort(definition, {
        portGroup: draw(3) === 0 ? 'slow' : undefined,
        link: `v${number}.${guest}-eth`.slice(0, 15),
        mac: `52:54:00:00:0${number}:${draw(2) === 0 ? 'ff' : `0${guest}`}`,
        addresses: [`10.${number}.0.${draw(3) + 2}`, `fd00:${number}::${draw(3) + 2}`].filter(
          () => draw(3) > 0,
        ),
      }),
    )
  return { definition, ports }
}

const somePublications = (draw: Draw): PublishedPort[] =>
  Array.from({ length: 6 }, (_, index) => index)
    .filter(() => draw(2) === 0)
    .map((index) => ({
      proto: index % 2 === 0 ? ('tcp' as const) : ('udp' as const),
      ...(index < 2 ? {} : { address: index < 4 ? '203.0.113.1' : '2001:db8::1' }),
      port: 8000 + 257 * index,
      target: index < 4 ? `10.1.0.${draw(3) + 2}` : `fd00:1::${draw(3) + 2}`,
      to: draw(2) === 0 ? 80 : 65_535,
    }))

interface Listing {
  readonly handles: readonly number[]
  readonly rules: unknown
}

/** What there is of a table, however it came to be. */
function listingOf(name: string): Listing {
  const all = JSON.parse(execFileSync('nft', ['-j', 'list', 'ruleset'], { encoding: 'utf8' })) as {
    readonly nftables: readonly Readonly<Record<string, Record<string, unknown>>>[]
  }
  const handles: number[] = []
  const rules = all.nftables.flatMap((entry) =>
    Object.entries(entry).flatMap(([kind, { handle, elem, table, ...rest }]) => {
      if ((kind === 'table' ? rest.name : table) !== name) return []
      if (kind === 'table') handles.push(Number(handle))
      const elements = Array.isArray(elem) ? elem.map((one) => JSON.stringify(one)).sort() : []
      return [JSON.stringify({ kind, ...rest, elements }).replaceAll(`"${name}"`, '"table"')]
    }),
  )
  return { handles, rules: rules.sort() }
}

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const { seed, below: draw } = random()
  const rules = appliedRules('steps')
  let networks = [someNetwork(draw, 1), someNetwork(draw, 2)]
  let kept = 0
  for (let step = 0; step < 40; step++) {
    const before = listingOf('steps').handles
    const isFlushed = draw(10) === 0
    if (isFlushed) execFileSync('nft', ['flush', 'ruleset'])
    const change = draw(4)
    const definitions = networks.map(({ definition }) => definition)
    networks = [1, 2].map((number) => someNetwork(draw, number))
    // Guests come and go; networks seldom do.
    if (change > 0)
      networks = networks.map(({ ports }, index) => {
        const definition = definitions[index] ?? networkOf(index + 1)
        return { definition, ports: ports.map((port) => guardedPort(definition, port)) }
      })
    const published = somePublications(draw)
    await rules.become(networks, published, noFilters)
    await nft(`${removeRules('whole')}\n${formatRules('whole', networks, elementsOf(networks, published))}`)
    const now = listingOf('steps')
    assert.deepEqual(now.rules, listingOf('whole').rules, `seed ${seed}, step ${step}`)
    if (!isFlushed && now.handles.join() === before.join()) kept++
  }
  assert.ok(kept > 10, `only ${kept} steps changed what is in sets alone (seed ${seed})`)
  await rules.become([], [], noFilters)
  assert.deepEqual(listingOf('steps').rules, [])
}

if (isOnTestHost()) await runOnTestHost()
else
  test('rules change step by step to what they would be at once, also when another took them away', {
    skip: missingForTestHost(['ip', 'nft', 'unshare']),
  }, async () => {
    await onTestHost(import.meta.filename)
  })
