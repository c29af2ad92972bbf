export * from './client.ts'
export type { HttpOptions } from './http.ts'
export * from './web-socket.ts'
