// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// pgjdbc, by itself or under HikariCP: "connect" with rendered parameters or the rendered URL, or "retry" under load.
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/** Java has no JSON of its own: the input is a line of properties, separated by tabs. */
final class Drivers {
    public static void main(String[] args) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        Properties given = new Properties();
        for (String pair : input.readLine().split("\t")) {
            String[] both = pair.split("=", 2);
            given.setProperty(both[0], both[1]);
        }
        String url = given.getProperty("url");
        if (args[0].equals("retry")) {
            load(given, input);
        } else if (args[0].equals("pgjdbc")) {
            Properties parameters = under(given, "parameters.");
            parameters.setProperty("user", given.getProperty("user"));
            Connection connection = DriverManager.getConnection(url, parameters);
            connection.createStatement().execute("SELECT 1");
            System.out.println("{}");
            input.read();
        } else {
            HikariConfig config = new HikariConfig();
            config.setJdbcUrl(url);
            config.setUsername(given.getProperty("user"));
            config.setMaximumPoolSize(4);
            config.setDataSourceProperties(under(given, "parameters."));
            TreeSet<String> unknown = new TreeSet<>();
            for (Map.Entry<Object, Object> one : under(given, "pool.").entrySet()) {
                if (!set(config, (String) one.getKey(), Long.parseLong((String) one.getValue()))) {
                    unknown.add((String) one.getKey());
                }
            }
            HikariDataSource pool = new HikariDataSource(config);
            pool.getConnection().createStatement().execute("SELECT 1");
            System.out.printf(
                    "{\"maxLifetime\": %d, \"idleTimeout\": %d, \"minimumIdle\": %d, \"connectionTimeout\": %d,"
                            + " \"validationTimeout\": %d, \"unknown\": \"%s\"}%n",
                    pool.getMaxLifetime(), pool.getIdleTimeout(), pool.getMinimumIdle(), pool.getConnectionTimeout(),
                    pool.getValidationTimeout(), String.join(" ", unknown));
            input.read();
            pool.close();
        }
    }

    private static Properties under(Properties given, String prefix) {
        Properties found = new Properties();
        for (String name : given.stringPropertyNames()) {
            if (name.startsWith(prefix)) {
                found.setProperty(name.substring(prefix.length()), given.getProperty(name));
            }
        }
        return found;
    }

    /** Through the setter; false where this release of HikariCP has none. */
    private static boolean set(HikariConfig config, String name, long value) throws Exception {
        String setter = "set" + name.substring(0, 1).toUpperCase() + name.substring(1);
        for (java.lang.reflect.Method method : HikariConfig.class.getMethods()) {
            if (method.getName().equals(setter)) {
                boolean isInt = method.getParameterTypes()[0] == int.class;
                method.invoke(config, isInt ? (Object) (int) value : (Object) value);
                return true;
            }
        }
        return false;
    }

    /** Two workers that do idempotent work through the snippet's run until the end; prints what came of it. */
    private static void load(Properties given, BufferedReader input) throws Exception {
        String name = given.getProperty("name");
        long patience = (long) (1000 * Double.parseDouble(given.getProperty("patience")));
        AtomicBoolean ended = new AtomicBoolean();
        AtomicInteger done = new AtomicInteger();
        Map<String, Integer> failures = new TreeMap<>();
        Thread[] workers = new Thread[2];
        try (HikariDataSource pool = Retry.openPool(given.getProperty("url"), given.getProperty("user"), new Properties())) {
            for (int number = 0; number < workers.length; number++) {
                String prefix = name + "-" + number + "-";
                workers[number] = new Thread(() -> {
                    int request = 0;
                    do {
                        String key = prefix + request++;
                        try {
                            Retry.run(pool, connection -> doOnce(connection, name, key), patience);
                            done.incrementAndGet();
                        } catch (SQLException | InterruptedException error) {
                            synchronized (failures) {
                                failures.merge(error.getMessage().replaceAll("[^\\w .:]", " "), 1, Integer::sum);
                            }
                            pause();
                        }
                    } while (!ended.get());
                });
                workers[number].start();
            }
            while (input.read() >= 0) {
                // until the end
            }
            ended.set(true);
            for (Thread worker : workers) {
                worker.join();
            }
        }
        StringBuilder text = new StringBuilder();
        failures.forEach((message, count) ->
                text.append(text.length() == 0 ? "" : ", ").append('"').append(message).append("\": ").append(count));
        System.out.printf("{\"done\": %d, \"failures\": {%s}}%n", done.get(), text);
    }

    private static void pause() {
        try {
            Thread.sleep(50);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private static boolean doOnce(Connection connection, String name, String key) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT do_once(?, ?)")) {
            statement.setString(1, name);
            statement.setString(2, key);
            return statement.execute();
        }
    }
}
