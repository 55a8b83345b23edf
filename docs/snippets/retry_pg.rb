# Ruby pg: a small pool that hands out living connections, and bounded retries of idempotent work.
require "pg"

class Pool
  TRANSIENT = %w[40001 40P01 53300 57P01 57P02 57P03 57P05].freeze # and class 08
  # libpq has no SQLSTATE for a login that failed. A server that answers with another FATAL than these means it.
  PASSING = /starting up|shutting down|recovery mode|not yet accepting|too many clients|slots/

  def initialize(size = 4, **parameters)
    @parameters = parameters
    @slots = SizedQueue.new(size)
    size.times { @slots << nil } # filled at first use
  end

  # Work in one transaction, again after a transient failure, for _patience_ seconds. It has to be idempotent.
  def run(patience = 30.0, &work)
    deadline = now + patience
    0.step do |attempt|
      begin
        return once(&work)
      rescue PG::Error => error
        delay = rand * [2.0, 0.1 * 2**attempt].min
        raise if !transient?(error) || now + delay >= deadline
      end
      sleep delay
    end
  end

  private

  def once(&work)
    connection = @slots.pop
    begin
      connection = living(connection)
      connection.transaction(&work)
    ensure
      usable = connection && !connection.finished? && connection.status == PG::CONNECTION_OK
      @slots << (usable ? connection : nil)
    end
  end

  def living(connection)
    connection&.exec("SELECT 1")
    connection || PG.connect(**@parameters)
  rescue PG::Error
    raise if connection.nil?
    connection.finish # it was dead
    connection = nil
    retry
  end

  def transient?(error)
    code = error.result&.error_field(PG::PG_DIAG_SQLSTATE) if error.respond_to?(:result)
    return TRANSIENT.include?(code) || code.start_with?("08") if code
    return false unless error.is_a?(PG::ConnectionBad) || error.is_a?(PG::UnableToSend)
    !error.message.include?("FATAL") || error.message.match?(PASSING) || error.message.include?("terminating connection")
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
