// pgjdbc with HikariCP: the pool checks what it hands out; bounded retries of idempotent work.
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

final class Retry {
    static final Set<String> TRANSIENT =
            Set.of("40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"); // and class 08

    interface Work<T> {
        T on(Connection connection) throws SQLException;
    }

    static HikariDataSource openPool(String url, String user, Properties parameters) {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(url);
        config.setUsername(user);
        config.setDataSourceProperties(parameters);
        config.setMaximumPoolSize(4);
        config.setConnectionTimeout(10_000); // HikariCP pings by itself what was idle for half a second
        config.setAutoCommit(false);
        return new HikariDataSource(config);
    }

    static boolean isTransient(SQLException error) {
        if (error instanceof SQLTransientConnectionException && error.getCause() instanceof SQLException) {
            return isTransient((SQLException) error.getCause()); // why the pool had none to hand out
        }
        String code = error.getSQLState();
        return code == null
                ? error instanceof SQLTransientConnectionException
                : TRANSIENT.contains(code) || code.startsWith("08");
    }

    /** Work in one transaction, again after a transient failure, for that many milliseconds. It has to be idempotent. */
    static <T> T run(HikariDataSource pool, Work<T> work, long patience) throws SQLException, InterruptedException {
        long deadline = System.nanoTime() + patience * 1_000_000;
        for (int attempt = 0; ; attempt++) {
            long delay = ThreadLocalRandom.current().nextLong(Math.min(2000, 100L << Math.min(attempt, 5)));
            try (Connection connection = pool.getConnection()) {
                try {
                    T result = work.on(connection);
                    connection.commit();
                    return result;
                } catch (SQLException error) {
                    try {
                        connection.rollback();
                    } catch (SQLException lost) {
                        error.addSuppressed(lost); // the first error says why
                    }
                    throw error;
                }
            } catch (SQLException error) {
                if (!isTransient(error) || System.nanoTime() + delay * 1_000_000 >= deadline) {
                    throw error;
                }
            }
            Thread.sleep(delay);
        }
    }
}
