export { type OpenSchedulesOptions, openSchedules } from './schedules/open-schedules.ts'
