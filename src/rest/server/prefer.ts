import type { CallOptions } from '../../driver/index.ts'
import type { Job } from '../../model/index.ts'
import type { Call } from './call.ts'
import { json } from './reply.ts'

/** What the `Prefer` header (RFC 7240) asks for. */
export interface Preference {
  readonly respondAsync: boolean
  /** Seconds to wait for the end before answering with a job. */
  readonly waitSeconds: number | undefined
}

const longestWaitSeconds = 3_600

export function readPreference(request: Request): Preference {
  const parts = (request.headers.get('prefer') ?? '').split(/[,;]/u).map((part) => part.trim().toLowerCase())
  const seconds = parts.map((part) => /^wait\s*=\s*"?(\d{1,6})"?$/u.exec(part)?.[1]).find(Boolean)
  return {
    respondAsync: parts.includes('respond-async'),
    waitSeconds: seconds === undefined ? undefined : Math.min(Number(seconds), longestWaitSeconds),
  }
}

/**
 * Runs a state-changing operation and answers: with what `done` makes of its result when it ends in time,
 * else with status 202 and its job. It goes on when the client goes away; only its job can be cancelled.
 */
export async function runChange(
  call: Call,
  isLong: boolean,
  run: (options: CallOptions) => Promise<unknown>,
  done: (result: unknown) => Response | Promise<Response>,
): Promise<Response> {
  const preference = readPreference(call.request)
  const { promise: job, resolve: onJob } = Promise.withResolvers<Job>()
  const ended = run({ onJob })
  const waits = preference.waitSeconds !== undefined
  if (!waits && !isLong && !preference.respondAsync) return done(await ended)
  // The job tells of the failure; here nobody listens any more once 202 is sent.
  ended.catch(() => {})
  const first = await Promise.race([job, ended.then(() => undefined)])
  if (waits || !first) {
    const inTime = !first || (await endsWithin(ended, (preference.waitSeconds ?? 0) * 1000))
    if (inTime) return done(await ended)
  }
  return accepted(first, preference)
}

/** Whether it ends, well or badly, in that time. */
async function endsWithin(ended: Promise<unknown>, ms: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), ms)
  const result = await Promise.race([
    ended.then(
      () => true,
      () => true,
    ),
    late,
  ])
  clearTimeout(timer)
  return result
}

function accepted(job: Job | undefined, { respondAsync }: Preference): Response {
  const headers = {
    location: `/v1/jobs/${job?.id}`,
    ...(respondAsync && { 'preference-applied': 'respond-async' }),
  }
  return json(job, { status: 202, headers })
}
