import { type ErrorCode, errorCodes, type Job, VisorError } from '../model/index.ts'

/** The error that a job ended with. */
export function jobError({ id, operation, state, error }: Job): VisorError {
  const { code, message, remedy } = (error ?? {}) as { code?: string; message?: string; remedy?: string }
  const known = code !== undefined && Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : undefined
  return new VisorError(
    known ?? (state === 'cancelled' ? 'cancelled' : 'failed'),
    message ?? `${operation} (job ${id}) ${state === 'cancelled' ? 'was cancelled' : 'failed'}.`,
    remedy === undefined ? {} : { remedy },
  )
}
