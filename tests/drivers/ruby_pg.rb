# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Ruby pg, with rendered parameters or with the rendered URL.
require "json"
require "pg"

given = JSON.parse($stdin.gets)
connection =
  if given["uri"]
    PG.connect(given["uri"])
  else
    PG.connect(**given["server"].transform_keys(&:to_sym), **given["parameters"].transform_keys(&:to_sym))
  end
connection.exec("SELECT 1")
puts "{}"
$stdout.flush
$stdin.read
