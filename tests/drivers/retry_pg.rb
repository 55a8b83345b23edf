# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Two workers that do idempotent work through the snippet's Pool until the end; prints what came of it.
require "json"
require_relative "../../docs/snippets/retry_pg"

given = JSON.parse($stdin.gets)
pool = Pool.new(**given["server"].transform_keys(&:to_sym))
ended = false
done = 0
failures = Hash.new(0)
workers = [1, 2].map do |number|
  Thread.new do
    0.step do |request|
      begin
        pool.run(given["patience"]) do |connection|
          connection.exec_params("SELECT do_once($1, $2)", [given["name"], "#{given["name"]}-#{number}-#{request}"])
        end
        done += 1
      rescue PG::Error => error
        failures[error.message] += 1
        sleep 0.05
      end
      break if ended
    end
  end
end
$stdin.read
ended = true
workers.each(&:join)
puts JSON.generate(done: done, failures: failures)
